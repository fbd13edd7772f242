//! A nats-server of one's own, for tests and demonstrations.

use std::{
    env, io,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

/// How long a broker may take to be ready.
const START_LIMIT: Duration = Duration::from_secs(20);
/// Where Debian puts the program: not on everybody's PATH.
const DEBIAN: &str = "/usr/sbin/nats-server";

/// A nats-server as a process of its own, on a free port of 127.0.0.1. Dropping it stops it.
#[derive(Debug)]
pub struct Broker {
    program: PathBuf,
    arguments: Vec<String>,
    port: u16,
    process: Option<Child>,
    /// Reads what the process says until its end.
    reader: Option<thread::JoinHandle<()>>,
}

impl Broker {
    /// The nats-server program: on the PATH, or where Debian puts it.
    pub fn program() -> Option<PathBuf> {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path)
            .map(|dir| dir.join("nats-server"))
            .chain([PathBuf::from(DEBIAN)])
            .find(|program| program.is_file())
    }

    /// Starts one on a free port. Blocks until it is ready.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such program, and what the program says if it does not start.
    pub fn start() -> io::Result<Self> {
        Self::start_with(&[])
    }

    /// The same with more arguments, such as `-c FILE`.
    ///
    /// # Errors
    ///
    /// See [`start`](Self::start).
    pub fn start_with(arguments: &[&str]) -> io::Result<Self> {
        let program = Self::program().ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                "there is no nats-server on the PATH: apt-get install nats-server",
            )
        })?;
        let mut broker = Self {
            program,
            arguments: arguments.iter().map(|&text| text.to_owned()).collect(),
            port: 0,
            process: None,
            reader: None,
        };
        broker.run()?;
        Ok(broker)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its URL, `nats://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Kills it, as a crash would. Connections break at once.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself.
            process.kill().ok();
            process.wait().ok();
        }
        if let Some(reader) = self.reader.take() {
            // It has nothing to say.
            reader.join().ok();
        }
    }

    /// Starts it again after [`kill`](Self::kill), on the same port. Blocks until it is ready.
    ///
    /// # Errors
    ///
    /// See [`start`](Self::start).
    pub fn restart(&mut self) -> io::Result<()> {
        self.kill();
        self.run()
    }

    fn run(&mut self) -> io::Result<()> {
        let port = match self.port {
            // The broker asks the system for a free one.
            0 => "-1".to_owned(),
            port => port.to_string(),
        };
        let mut process = Command::new(&self.program)
            .args(["-a", "127.0.0.1", "-p", &port])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let output = process.stderr.take();
        self.process = Some(process);
        let (telling, told) = mpsc::channel();
        self.reader = Some(thread::spawn(move || {
            let Some(output) = output else { return };
            // Until the end: a broker that cannot write its log would stop.
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // Nobody listens once it is ready.
                telling.send(line).ok();
            }
        }));
        let mut log = String::new();
        loop {
            let Ok(line) = told.recv_timeout(START_LIMIT) else {
                self.kill();
                return Err(io::Error::other(format!(
                    "nats-server did not start: {log}"
                )));
            };
            if let Some((_, address)) = line.split_once("Listening for client connections on ")
                && let Some((_, port)) = address.rsplit_once(':')
                && let Ok(port) = port.trim().parse()
            {
                self.port = port;
            }
            if line.contains("Server is ready") {
                return Ok(());
            }
            log.push_str(&line);
            log.push('\n');
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}
