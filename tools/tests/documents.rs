//! What the documents name is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").to_owned()
}

/// The text of every source file under a directory.
fn sources(at: &Path, out: &mut String) {
    for entry in fs::read_dir(at).expect("a directory").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() && name != "target" {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push_str(&fs::read_to_string(&path).expect("a source file"));
        }
    }
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Whether something between backticks is the name of a test: a row's letter and number in front.
fn is_test(name: &str) -> bool {
    let row = name.split('_').next().unwrap_or_default();
    name.len() > 12 && row.starts_with(['s', 'n', 'b']) && row[1..].parse::<u8>().is_ok()
}

#[test]
fn every_test_and_place_in_the_tables_of_the_sources_exists() {
    let root = root();
    let mut text = String::new();
    for room in ["engine", "tools", "bench"] {
        sources(&root.join(room), &mut text);
    }
    for (document, least) in [("docs/NOTES.md", 60), ("docs/PLUGIN.md", 45)] {
        let table = fs::read_to_string(root.join(document)).expect("the table");
        let tests: BTreeSet<&str> = quoted(&table).filter(|q| is_test(q)).collect();
        assert!(tests.len() > least, "{document} names {} tests only", tests.len());
        for test in tests {
            assert!(text.contains(&format!("fn {test}(")), "{document}: no test is called {test}");
        }
        let places =
            quoted(&table).filter(|q| q.contains('/') && !q.contains(['<', ' ', ':', '[']));
        for place in places {
            let below = root.join("engine/proto/src").join(place);
            assert!(below.exists() || root.join(place).exists(), "{document}: there is no {place}");
        }
    }
}
