//! The page for users of the original's library names items and tests that exist.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod pages;

use std::{collections::BTreeSet, fs};

use pages::{assert_test, files, root};

/// Names on the page that are not of our crates.
const OTHERS: [&str; 8] = [
    "Debug",
    "PartialEq",
    "Result",
    "Stream",
    "bench/",
    "net_rpc",
    "tokio::spawn",
    "tow",
];

/// The rows of all tables: what the original has, what towline has, what shows it.
fn rows() -> Vec<[String; 3]> {
    let page = fs::read_to_string(root().join("docs/from-rpc25519.md")).unwrap();
    let rows = page.lines().filter_map(|line| {
        let cells: Vec<&str> = line
            .strip_prefix("| ")?
            .strip_suffix(" |")?
            .split(" | ")
            .collect();
        assert_eq!(cells.len(), 3, "{line}");
        let is_head = cells[2] == "shown by" || cells[0].starts_with("---");
        (!is_head).then(|| [cells[0], cells[1], cells[2]].map(str::to_owned))
    });
    rows.collect()
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_row_names_tests_that_exist_or_an_exception_that_names_it() {
    let exceptions = fs::read_to_string(root().join("docs/wire/exceptions.toml")).unwrap();
    let mut absent: Vec<&str> = Vec::new();
    let rows = rows();
    for [original, _, shown] in &rows {
        if shown == "absent (X18)" {
            absent.extend(quoted(original));
            continue;
        }
        let tests: Vec<&str> = quoted(shown).collect();
        assert!(!tests.is_empty(), "nothing shows {original}");
        for test in tests {
            let (file, test) = test.split_once(".rs::").unwrap();
            assert_test(file, test);
        }
    }
    let mut excepted: Vec<&str> = exceptions
        .lines()
        .filter_map(|line| line.strip_prefix("absent = [")?.strip_suffix(']'))
        .flat_map(|names| names.split(", ").map(|name| name.trim_matches('"')))
        .collect();
    absent.sort_unstable();
    excepted.sort_unstable();
    assert_eq!(absent, excepted);
    assert!(rows.len() > 120, "only {} rows were recognised", rows.len());
}

/// A source file, and the names it defines.
struct Source {
    path: String,
    text: String,
    names: BTreeSet<String>,
}

fn sources() -> Vec<Source> {
    let sources = files(&root().join("crates"), "rs").into_iter();
    let sources = sources.filter(|path| path.components().any(|part| part.as_os_str() == "src"));
    sources
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            Source {
                path: path.display().to_string(),
                names: text
                    .lines()
                    .filter_map(defined)
                    .map(str::to_owned)
                    .collect(),
                text,
            }
        })
        .collect()
}

/// What a line may define: an item, a field, or a variant of an enum.
fn defined(line: &str) -> Option<&str> {
    let line = line.trim_start().trim_start_matches("pub ");
    let line = line
        .trim_start_matches("const ")
        .trim_start_matches("async ");
    let kinds = ["fn ", "struct ", "enum ", "trait ", "type ", "mod "];
    let name = kinds
        .iter()
        .find_map(|kind| line.strip_prefix(kind))
        .unwrap_or(line);
    let end = name
        .find(|end: char| !end.is_alphanumeric() && end != '_')
        .unwrap_or(name.len());
    let behind = &name[end..];
    let ends = behind.is_empty() || behind.starts_with(['(', '<', ',', ';', ':', ' ']);
    (end > 0 && ends).then(|| &name[..end])
}

/// True if a source that is the owner's module, or defines or implements the owner, defines the name.
fn belongs(sources: &[Source], owner: &str, name: &str) -> bool {
    sources.iter().any(|source| {
        source.names.contains(name)
            && (source.names.contains(owner)
                || source.path.ends_with(&format!("/{owner}.rs"))
                || source.text.contains(&format!("impl {owner} ")))
    })
}

#[test]
fn every_item_that_the_page_names_exists() {
    let sources = sources();
    let (mut named, mut missing) = (0, Vec::new());
    for [_, ours, _] in rows() {
        for item in quoted(&ours) {
            let item = item.trim_end_matches("()");
            if OTHERS.contains(&item) || item.contains(['/', '?', '#']) {
                continue;
            }
            let found = match item.rsplit_once("::") {
                Some((owner, name)) => belongs(&sources, owner, name),
                None => sources.iter().any(|source| source.names.contains(item)),
            };
            if !found {
                missing.push(item.to_owned());
            }
            named += 1;
        }
    }
    assert!(missing.is_empty(), "no crate has {missing:?}");
    assert!(named > 150, "only {named} items were recognised");
}
