//! Citations between the code and the wire pages name what exists, in both directions.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod pages;

use std::{collections::BTreeSet, fs};

use pages::{assert_test, files, root};

/// The rule that a text begins with: one capital letter and a number.
fn rule(text: &str) -> Option<&str> {
    let digits = text.get(1..)?;
    let digits = digits
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(digits.len());
    (text.starts_with(|first: char| first.is_ascii_uppercase()) && digits > 0)
        .then(|| &text[..=digits])
}

/// The rules that the pages define: headings such as `### F3 The length and its limit`.
fn defined() -> BTreeSet<String> {
    let mut rules = BTreeSet::new();
    for page in files(&root().join("docs/wire"), "md") {
        for line in fs::read_to_string(&page).unwrap().lines() {
            if let Some(rule) = line.strip_prefix("### ").and_then(rule) {
                let new = rules.insert(rule.to_owned());
                assert!(new, "{} defines {rule} again", page.display());
            }
        }
    }
    rules
}

/// The text of a file without line breaks and without what begins a comment line, so that a citation
/// may run over lines.
fn running_text(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    for line in source.lines() {
        let line = line.trim_start();
        let line = line.trim_start_matches('/').trim_start_matches('!');
        text.push_str(line.trim());
        text.push(' ');
    }
    text
}

/// The rules of every citation in a text: `F3`, `F3, F23`, `G16 to G30` (its two ends).
fn cited(text: &str) -> Vec<&str> {
    let mut rules = Vec::new();
    for (at, cite) in text.match_indices("docs/wire ") {
        let mut rest = &text[at + cite.len()..];
        while let Some(rule) = rule(rest) {
            rules.push(rule);
            rest = &rest[rule.len()..];
            let next = [", and ", ", ", " to ", " and "]
                .iter()
                .find_map(|between| rest.strip_prefix(between));
            match next {
                Some(next) => rest = next,
                None => break,
            }
        }
    }
    rules
}

#[test]
fn every_citation_names_a_rule_that_exists() {
    let defined = defined();
    let (mut wrong, mut citations) = (Vec::new(), 0);
    for file in files(&root().join("crates"), "rs") {
        let text = running_text(&fs::read_to_string(&file).unwrap());
        for rule in cited(&text) {
            citations += 1;
            if !defined.contains(rule) {
                wrong.push(format!("{}: docs/wire {rule}", file.display()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "no page has these rules:\n{}",
        wrong.join("\n")
    );
    assert!(
        citations > 200,
        "only {citations} citations were recognised"
    );
}

#[test]
fn every_exception_names_a_rule_that_exists() {
    let defined = defined();
    let list = fs::read_to_string(root().join("docs/wire/exceptions.toml")).unwrap();
    let rules: Vec<_> = list
        .lines()
        .filter_map(|line| line.strip_prefix("rule = \"")?.strip_suffix('"'))
        .collect();
    assert_eq!(rules.len(), list.matches("[[exception]]").count());
    for rule in rules {
        assert!(defined.contains(rule), "exceptions.toml names {rule}");
    }
}

/// Between backticks: `FILE::TEST`, the file below `crates/`.
#[test]
fn every_test_that_the_conformance_page_names_exists() {
    let page = fs::read_to_string(root().join("docs/wire/conformance.md")).unwrap();
    let mut named = 0;
    for (file, test) in page
        .split('`')
        .filter_map(|piece| piece.split_once(".rs::"))
    {
        assert_test(file, test);
        named += 1;
    }
    assert!(named > 100, "only {named} tests were recognised");
}

/// Every rule that the page calls deliberately different has an exception, whose reason it is.
#[test]
fn every_difference_on_the_conformance_page_is_an_exception() {
    let page = fs::read_to_string(root().join("docs/wire/conformance.md")).unwrap();
    let exceptions = fs::read_to_string(root().join("docs/wire/exceptions.toml")).unwrap();
    let mut differences = 0;
    for (at, words) in page.match_indices("deliberately different") {
        let line = page[at + words.len()..].lines().next().unwrap();
        let list = line.split(['|', '<']).next().unwrap();
        let (_, rules) = list.split_once(": ").unwrap();
        for rule in rules.trim().split(", ") {
            let entry = format!("\nrule = \"{rule}\"\n");
            assert!(exceptions.contains(&entry), "{rule} has no exception");
            differences += 1;
        }
    }
    assert!(differences > 20, "only {differences} were recognised");
}

#[test]
fn citations_are_read_as_they_are_written() {
    // In two pieces, so that this file does not cite what does not exist.
    let text = |rules: &str| running_text(&format!("/// see (docs/wire{rules}"));
    assert_eq!(cited(&text(" F3).")), ["F3"]);
    assert_eq!(cited(&text(" F3, F23: why")), ["F3", "F23"]);
    assert_eq!(cited(&text(" G16 to G30),")), ["G16", "G30"]);
    assert_eq!(
        cited(&text(" C6 to C8, C12, E4 and S3.")),
        ["C6", "C8", "C12", "E4", "S3"]
    );
    assert_eq!(cited(&text("\n    /// S6).")), ["S6"]);
    assert!(cited(&text("/pitfalls.md, docs/wire and a number")).is_empty());
    assert_eq!(rule("X999 is next"), Some("X999"));
    assert_eq!(rule("XY9"), None);
}
