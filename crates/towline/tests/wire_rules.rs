//! Every `docs/wire` citation in the code names a rule that exists.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The root of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// All files with one of these endings in `dir` and below it.
fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == ending)
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

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
