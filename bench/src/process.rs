//! Processes, what they use, and where they run.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use rustix::{
    process::{Pid, Resource, Signal, WaitId, WaitIdOptions, getrlimit, kill_process, waitid},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

/// A process that has not ended by then has failed.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at a client's memory.
const LOOK: Duration = Duration::from_millis(10);
/// The kernel tells CPU time in these.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process has used.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// User and system time, in seconds.
    pub(crate) cpu: f64,
    /// The most memory it has had at once, in MiB.
    pub(crate) peak_mib: f64,
}

/// This program, to be started again in another role.
pub(crate) fn this_program() -> anyhow::Result<Command> {
    let path: PathBuf = std::env::current_exe().context("cannot find this program")?;
    Ok(Command::new(path))
}

/// A server that runs until its standard input is closed.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    /// The first line it printed.
    pub(crate) ready: String,
}

impl Server {
    /// Starts a server and waits until it says that it is ready.
    pub(crate) fn start(mut command: Command) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("a server without stdout")?;
        let mut server = Self {
            child,
            stdin,
            stdout: BufReader::new(stdout),
            ready: String::new(),
        };
        let mut line = String::new();
        server.stdout.read_line(&mut line)?;
        ensure!(!line.is_empty(), "{command:?} ended before it was ready");
        server.ready = line.trim().to_owned();
        Ok(server)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has used so far; then ends it.
    pub(crate) fn finish(mut self) -> anyhow::Result<Usage> {
        let usage = Usage {
            cpu: cpu_seconds(self.pid())?,
            peak_mib: peak_mib(self.pid()).context("the server has ended")?,
        };
        drop(self.stdin.take());
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "a server failed: {status}");
        Ok(usage)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Only where something failed on the way: `finish` has waited for it.
        if let Ok(None) = self.child.try_wait() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// A client that has ended well.
#[derive(Debug)]
pub(crate) struct Finished {
    /// From before its start to its end.
    pub(crate) elapsed: Duration,
    pub(crate) usage: Usage,
    pub(crate) stdout: String,
}

/// Runs a client to its end.
pub(crate) fn run_client(mut command: Command) -> anyhow::Result<Finished> {
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {command:?}"))?;
    let pid = child.id();
    let (stop, stopped) = mpsc::channel::<()>();
    let looking = thread::spawn(move || look_at_memory(pid, &stopped));
    // Its numbers can be read after it has ended, as long as nobody has waited for it.
    waitid(
        WaitId::Pid(rustix_pid(pid)?),
        WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
    )?;
    let elapsed = start.elapsed();
    drop(stop);
    let cpu = cpu_seconds(pid)?;
    let Ok(peak_mib) = looking.join() else {
        bail!("the thread that looks at memory has failed");
    };
    let mut stdout = String::new();
    if let Some(mut pipe) = child.stdout.take() {
        pipe.read_to_string(&mut stdout)?;
    }
    let status = child.wait()?;
    ensure!(status.success(), "{command:?} failed: {status}\n{stdout}");
    Ok(Finished {
        elapsed,
        usage: Usage { cpu, peak_mib },
        stdout,
    })
}

/// The peak as of shortly before the end, when it is lost; ends a process that does not end.
fn look_at_memory(pid: u32, stopped: &mpsc::Receiver<()>) -> f64 {
    let start = Instant::now();
    let mut peak = 0.0;
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(LOOK) {
        if let Some(mib) = peak_mib(pid) {
            peak = mib;
        }
        if start.elapsed() > PATIENCE
            && let Ok(pid) = rustix_pid(pid)
            && kill_process(pid, Signal::KILL).is_ok()
        {
            break;
        }
    }
    peak
}

fn rustix_pid(pid: u32) -> anyhow::Result<Pid> {
    i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .context("a process id out of range")
}

/// User and system time of a process and all its threads, in seconds.
pub(crate) fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} is gone"))?;
    ticks(&stat)
        .map(|ticks| ticks / TICKS_PER_SECOND)
        .context("/proc/PID/stat has an unknown form")
}

/// User and system time of a process and of the children that it has waited for, in seconds.
pub(crate) fn cpu_with_children(pid: u32) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} is gone"))?;
    times(&stat, 4)
        .map(|ticks| ticks / TICKS_PER_SECOND)
        .context("/proc/PID/stat has an unknown form")
}

/// Fields 14 and 15; the second field is a name in brackets that may hold anything.
fn ticks(stat: &str) -> Option<f64> {
    times(stat, 2)
}

/// The sum of so many fields from the 14th on: own times, then those of children.
fn times(stat: &str, count: usize) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let times: Vec<&str> = fields.split_whitespace().skip(11).take(count).collect();
    let times: Option<Vec<u32>> = times.into_iter().map(|time| time.parse().ok()).collect();
    times
        .filter(|times| times.len() == count)
        .map(|times| times.into_iter().map(f64::from).sum())
}

/// What a process holds in memory now, in bytes.
pub(crate) fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("process {pid} is gone"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("/proc/PID/status has an unknown form")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

/// The most memory that a process has had at once, in MiB; `None` once it has ended.
pub(crate) fn peak_mib(pid: u32) -> Option<f64> {
    high_water_mark(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn high_water_mark(status: &str) -> Option<f64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u32 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(f64::from(kib) / 1024.0)
}

/// Restricts this process, and those it starts, to the last CPU it may use: the first one serves
/// most interrupts.
pub(crate) fn pin_to_one_cpu() -> anyhow::Result<()> {
    let allowed = sched_getaffinity(None)?;
    let last = (0..CpuSet::MAX_CPU)
        .rev()
        .find(|cpu| allowed.is_set(*cpu))
        .context("there is no CPU to run on")?;
    let mut one = CpuSet::new();
    one.set(last);
    sched_setaffinity(None, &one).context("cannot stay on one CPU")
}

/// Files and sockets that a process started here may have open at once.
pub(crate) fn open_files() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}

/// What the figures were measured on.
pub(crate) fn machine() -> String {
    let cpus = sched_getaffinity(None).map_or(0, |set| set.count());
    let model = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("an unknown processor", |(_, name)| name.trim());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or("?").to_owned();
    format!(
        "Machine: {cpus} CPUs used of {model}, Linux {}, load {load} at the start",
        kernel.trim()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 1 0 9";
        assert_eq!(ticks(stat), Some(300.0));
        assert_eq!(times(stat, 4), Some(300.0));
    }

    #[test]
    fn memory_is_read_in_mib() {
        let status = "Name:\tx\nVmPeak:\t  99999 kB\nVmHWM:\t    2048 kB\n";
        assert_eq!(high_water_mark(status), Some(2.0));
        assert_eq!(high_water_mark("State:\tZ (zombie)\n"), None);
    }

    #[test]
    fn a_client_is_measured_to_its_end() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo done; sleep 0.1"]);
        let finished = run_client(command).unwrap();
        assert_eq!(finished.stdout, "done\n");
        assert!(finished.usage.peak_mib > 0.0);
    }

    #[test]
    fn a_client_that_fails_is_an_error() {
        let mut command = Command::new("sh");
        command.args(["-c", "exit 3"]);
        assert!(run_client(command).is_err());
    }

    #[test]
    fn a_server_ends_when_its_input_is_closed() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo ready; read line; exit 0"]);
        let server = Server::start(command).unwrap();
        assert_eq!(server.ready, "ready");
        // `read` fails at the end of its input, and the shell goes on to `exit 0`.
        assert!(server.finish().unwrap().peak_mib > 0.0);
    }
}
