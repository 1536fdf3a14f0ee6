//! `[gate]` as its users meet it.

use std::path::Path;

use super::*;

const HASH: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn parse(more: &str) -> Result<Config, String> {
    let text = format!("[node]\nkeys = \"k\"\n{more}");
    Config::parse(&text, Path::new("f")).map_err(|e| e.to_string())
}

#[test]
fn n20_rules_read_as_written() {
    let config = parse(&format!(
        "[[link]]\nname = \"up\"\naddress = \"a\"\nhashname = \"{HASH}\"\n\
         [gate]\ndefault = \"refuse\"\ndry_run = true\n\
         [[gate.rule]]\naction = \"allow\"\nport = 22000\nneighbour = \"up\"\nrecord = 7\n\
         namespace = \"shop.*\"\nsender = \"{HASH}\"\ncomment = \"c\"\n\
         [[gate.rule]]\naction = \"refuse\"\nrecord = \"\\\"7\\\"\"\n"
    ));
    let hash: Option<Hashname> = Some(HASH.parse().unwrap());
    let first = GateRule {
        action: Action::Allow,
        port: Some(22_000),
        neighbour: hash,
        record: Some(RecordId::Integer(7)),
        namespace: Some("shop.*".parse().unwrap()),
        sender: hash,
        comment: Some("c".to_owned()),
    };
    let record = Some(RecordId::text("7").unwrap());
    let second = GateRule { action: Action::Refuse, record, ..GateRule::default() };
    let rules = vec![first, second];
    assert_eq!(config.unwrap().gate, Gate { default: Action::Refuse, dry_run: true, rules });
}

#[test]
fn n20_everything_wrong_with_rules_is_told_at_once_with_its_line() {
    let told = parse(
        "[gate]\ndefault = \"alow\"\ndry_run = 1\n\
         [[gate.rule]]\nport = 0\nneighbour = \"x\"\nrecord = \"a b\"\nnamespace = \"shop*\"\n\
         sender = \"ab\"\ncoment = \"c\"\n[[gate.rule]]\naction = \"drop\"\ncomment = \"a\\nb\"\n",
    )
    .unwrap_err();
    for expected in [
        "f:4: gate.default: `alow` is not one of allow, refuse; did you mean `allow`?",
        "f:5: gate.dry_run: expected true or false",
        "f:6: gate.rule[0].action: is missing",
        "f:7: gate.rule[0].port: 0 is out of bounds",
        "f:8: gate.rule[0].neighbour: no [[link]] is called `x`",
        "f:9: gate.rule[0].record: a record id is a number",
        "f:10: gate.rule[0].namespace: expected a namespace",
        "f:11: gate.rule[0].sender: a hashname is 64 hex digits",
        "f:12: gate.rule[0].coment: no such option; did you mean `comment`?",
        "f:14: gate.rule[1].action: `drop` is not one of allow, refuse",
        "f:15: gate.rule[1].comment: a comment is one line",
    ] {
        assert!(told.contains(expected), "{expected}\nnot in\n{told}");
    }
}

#[test]
fn n20_rules_past_the_bound_are_refused() {
    let most = "[[gate.rule]]\naction = \"allow\"\n".repeat(Rules::MOST);
    assert_eq!(parse(&most).unwrap().gate.rules.len(), Rules::MOST);
    let told = parse(&(most + "[[gate.rule]]\naction = \"allow\"\n")).unwrap_err();
    assert!(told.contains("10001 sections are too many, at most 10000"), "{told}");
}

#[test]
fn n20_a_name_of_two_links_to_different_nodes_names_neither() {
    let other = HASH.replace("00", "11");
    let link =
        |hash: &str| format!("[[link]]\nname = \"up\"\naddress = \"a\"\nhashname = \"{hash}\"\n");
    let rule = "[[gate.rule]]\naction = \"refuse\"\nneighbour = \"up\"\n";
    let told = parse(&(link(HASH) + &link(&other) + rule)).unwrap_err();
    assert!(told.contains("several [[link]] to different nodes are called `up`"), "{told}");
    assert!(parse(&(link(HASH) + &link(HASH) + rule)).is_ok());
}
