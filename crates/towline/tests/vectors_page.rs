//! The list of rpc25519's vectors on the conformance page is complete and true.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod pages;

use std::{collections::BTreeSet, fs};

use pages::{files, root};
use serde_json::Value;

/// The rows of the list: file, entries, read by, written by, what is played in one direction only.
fn rows() -> Vec<Vec<String>> {
    let page = fs::read_to_string(root().join("docs/wire/conformance.md")).unwrap();
    let (_, section) = page.split_once("\n## Vectors of rpc25519\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let rows = rows.map(|line| {
        let cells = line.trim_matches('|').split('|');
        let cells: Vec<String> = cells.map(|cell| cell.trim().to_owned()).collect();
        assert_eq!(cells.len(), 5, "{line}");
        cells
    });
    rows.collect()
}

fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_file_of_vectors_is_listed_with_all_of_its_entries() {
    let mut listed = BTreeSet::new();
    for row in rows() {
        let file = row[0].trim_matches('`');
        let text = fs::read(root().join("crates").join(file)).unwrap();
        let entries: Vec<Value> = serde_json::from_slice(&text).unwrap();
        assert_eq!(entries.len().to_string(), row[1], "{file}");
        assert!(listed.insert(file.to_owned()), "{file} is listed twice");
    }
    let crates = root().join("crates");
    for path in files(&crates.join("towline-rpc/tests/vectors"), "json") {
        let file = path.strip_prefix(&crates).unwrap().display().to_string();
        assert!(listed.contains(&file), "{file} is not listed");
    }
    assert_eq!(listed.len(), 17);
}

#[test]
fn what_is_played_in_one_direction_is_an_entry_with_a_defect_and_the_tests_list() {
    let pitfalls = fs::read_to_string(root().join("docs/wire/pitfalls.md")).unwrap();
    let crates = root().join("crates");
    let rows = rows();
    let first = rows[0].clone();
    let mut excepted = 0;
    for row in rows {
        let file = row[0].trim_matches('`');
        let text = fs::read_to_string(crates.join(file)).unwrap();
        let tests = format!("{}{}", row[2], row[3]).replace("as the first", &first[2]);
        let sources: String = quoted(&tests)
            .map(|test| test.split_once(".rs::").unwrap().0)
            .map(|test| fs::read_to_string(crates.join(format!("{test}.rs"))).unwrap())
            .collect();
        let mut words = row[4].split('`').skip(1);
        while let (Some(name), Some(behind)) = (words.next(), words.next()) {
            let defect = behind.split_whitespace().next().unwrap();
            let defect = defect.trim_end_matches(',');
            assert!(
                text.contains(&format!("\"{name}\"")),
                "{file} has no {name}"
            );
            assert!(
                pitfalls.contains(&format!("\n## {defect} ")),
                "{name}: {defect}"
            );
            assert!(
                sources.contains(&format!("\"{name}\"")),
                "no test of {file} lists {name}"
            );
            excepted += 1;
        }
    }
    assert_eq!(excepted, 24);
}
