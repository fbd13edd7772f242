//! A terminal with a person at it, who types only when the terminal hides it.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    process::{Command, Stdio},
};

use rustix::{
    fs::OFlags,
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, tcgetattr},
};

use crate::support::{Place, exit_code, stderr, stdout};

/// What came of a program at a terminal.
pub(crate) struct Session {
    pub(crate) code: i32,
    /// What the terminal showed.
    pub(crate) screen: String,
    /// What went elsewhere: both streams.
    pub(crate) output: String,
}

/// Runs the program at a terminal of its own. Each answer is typed when its prompt has appeared and
/// the terminal no longer shows what is typed. `None` where `setsid` (util-linux) is missing.
#[expect(
    clippy::print_stdout,
    reason = "a test that is skipped says so where its reader looks"
)]
pub(crate) fn at_a_terminal(
    place: &Place,
    args: &[&str],
    answers: &[(&str, &str)],
) -> Option<Session> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&master).expect("ours");
    unlockpt(&master).expect("unlocked");
    let name = ptsname(&master, Vec::new()).expect("named");
    let slave = File::options()
        .read(true)
        .write(true)
        .custom_flags(OFlags::NOCTTY.bits() as i32)
        .open(name.to_str().expect("ASCII"))
        .expect("opened");
    let tow = place.tow(args);
    let mut command = Command::new("setsid");
    command
        .args(["--ctty", "--wait"])
        .arg(tow.get_program())
        .args(tow.get_args())
        .current_dir(place.root());
    for (name, value) in tow.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let child = command
        .stdin(slave)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    // Our copy of the program's end: with it open the terminal would never end.
    drop(command);
    let Ok(child) = child else {
        println!("skipped: setsid (util-linux) is not on PATH");
        return None;
    };
    let mut terminal = File::from(master);
    let (mut screen, mut seen) = (Vec::new(), 0);
    for (prompt, answer) in answers {
        let mut bytes = [0; 256];
        while !contains(&screen[seen..], prompt) {
            let count = terminal.read(&mut bytes).unwrap_or(0);
            assert!(count > 0, "no {prompt:?} on {}", text(&screen));
            screen.extend_from_slice(&bytes[..count]);
        }
        seen = screen.len();
        while tcgetattr(&terminal)
            .expect("a terminal")
            .local_modes
            .contains(LocalModes::ECHO)
        {
            std::thread::yield_now();
        }
        writeln!(terminal, "{answer}").expect("typed");
    }
    // Ends with an error when the program is gone.
    let mut bytes = [0; 256];
    while let Ok(count @ 1..) = terminal.read(&mut bytes) {
        screen.extend_from_slice(&bytes[..count]);
    }
    let ended = child.wait_with_output().expect("ends");
    Some(Session {
        code: exit_code(&ended),
        screen: text(&screen),
        output: stdout(&ended) + &stderr(&ended),
    })
}

fn contains(bytes: &[u8], part: &str) -> bool {
    text(bytes).contains(part)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
