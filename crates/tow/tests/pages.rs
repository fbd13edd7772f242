//! What the pages for users of the original's programs say of `tow` is so.

#[expect(dead_code, reason = "shared with other tests, which use the rest")]
mod support;

use std::{collections::BTreeSet, fs, path::Path};

use support::{Place, exit_code, stderr, stdout};

/// What stands between backticks in the second column of tables.
fn ours(page: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(page);
    let page = fs::read_to_string(path).expect("the page is there");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| "));
    let second = rows.filter_map(|row| row.split(" | ").nth(1));
    second
        .flat_map(|cell| {
            cell.split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect()
}

fn help(place: &Place, command: &[&str]) -> String {
    let args = [command, &["--help"]].concat();
    let help = place.tow(&args).output().expect("runs");
    assert_eq!(exit_code(&help), 0, "{command:?}: {}", stderr(&help));
    stdout(&help)
}

/// The options in a text: `--name`, or `-n`.
fn options(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace()
        .filter(|word| word.starts_with('-') && *word != "-")
}

/// Every flag of `srv`, `cli` and `selfy` that has an equivalent has one that exists.
#[test]
fn every_option_that_the_pages_name_exists() {
    let place = Place::new();
    let commands: [&[&str]; 16] = [
        &["serve"],
        &["call"],
        &["push"],
        &["pull"],
        &["bench"],
        &["chunks"],
        &["keys"],
        &["keys", "ca"],
        &["keys", "new"],
        &["keys", "show"],
        &["keys", "verify"],
        &["keys", "psk"],
        &["keys", "list"],
        &["keys", "renew"],
        &["keys", "passphrase"],
        &["keys", "known"],
    ];
    let known: String = commands
        .iter()
        .map(|command| help(&place, command))
        .collect();
    let known: BTreeSet<&str> = known
        .split(|end: char| end.is_whitespace() || [',', '[', ']', '=', '`', '.'].contains(&end))
        .filter(|word| word.starts_with('-'))
        .collect();
    let mut named = 0;
    for page in ["from-srv-and-cli.md", "selfy.md"] {
        for text in ours(page) {
            // A line of another program.
            if text.starts_with("cargo ") || text.starts_with("timeout ") {
                continue;
            }
            for option in options(&text) {
                assert!(known.contains(option), "{page}: `{text}` has {option}");
                named += 1;
            }
        }
    }
    assert!(named > 20, "only {named} options were recognised");
    for command in [&["serve", "."][..], &["call", "tcp://127.0.0.1:1", "x"]] {
        let unknown = place.tow(&[command, &["--nonsense"]].concat()).output();
        assert_eq!(exit_code(&unknown.expect("runs")), 2);
    }
}

/// One command does one thing: what belongs to another is wrong usage.
#[test]
fn one_command_has_one_action() {
    let place = Place::new();
    let url = "tcp://127.0.0.1:1";
    for args in [
        &["push", "file", url, "--output", "back"][..],
        &["pull", "tcp://127.0.0.1:1#file", "--suffix", "x"],
        &["call", url, "customEcho", "x", "push"],
        &["push"],
        &[],
    ] {
        let wrong = place.tow(args).output().expect("runs");
        assert_eq!(exit_code(&wrong), 2, "{args:?}: {}", stderr(&wrong));
    }
}
