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

#[test]
fn every_test_and_place_in_the_table_of_the_notes_exists() {
    let root = root();
    let notes = fs::read_to_string(root.join("docs/NOTES.md")).expect("the table");
    let mut text = String::new();
    for room in ["engine", "tools", "bench"] {
        sources(&root.join(room), &mut text);
    }
    let tests: BTreeSet<&str> = quoted(&notes)
        .filter(|q| q.len() > 12 && q.starts_with('s') && q.as_bytes()[1].is_ascii_digit())
        .collect();
    assert!(tests.len() > 60, "the table names {} tests only", tests.len());
    for test in tests {
        assert!(text.contains(&format!("fn {test}(")), "no test is called {test}");
    }
    let places = quoted(&notes).filter(|q| q.contains('/') && !q.contains(['<', ' ', ':', '[']));
    for place in places {
        let below = root.join("engine/proto/src").join(place);
        assert!(below.exists() || root.join(place).exists(), "there is no {place}");
    }
}
