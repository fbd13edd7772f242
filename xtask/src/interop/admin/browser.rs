//! Chromium without a window, told what to do over a pipe (the DevTools protocol).

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::interop::child::Deadline;

/// How long the browser may take for an answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at a page.
const PAUSE: Duration = Duration::from_millis(200);

/// One page in one browser, gone when dropped.
pub(super) struct Browser {
    child: Child,
    stdin: ChildStdin,
    messages: Receiver<Value>,
    last_id: u64,
    session: Option<String>,
    asked: Vec<String>,
    complaints: Vec<String>,
    /// Its profile; removed when the browser is gone.
    _profile: TempDir,
}

pub(super) fn version(chromium: &str) -> String {
    let told = Command::new(chromium).arg("--version").output();
    let text = told.map(|told| String::from_utf8_lossy(&told.stdout).trim().to_owned());
    text.unwrap_or_else(|_| chromium.to_owned())
}

impl Browser {
    /// Starts it, and opens `url`.
    pub(super) fn start(chromium: &str, url: &str) -> Result<Self> {
        let profile = TempDir::new().context("cannot make a profile")?;
        let mut child = Command::new("sh")
            // It reads commands from descriptor 3 and answers on 4.
            .args([
                "-c",
                "exec 3<&0 4>&1 </dev/null >/dev/null 2>&1; exec \"$0\" \"$@\"",
                chromium,
            ])
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
            ])
            .args([
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
                "--window-size=1280,900",
            ])
            .arg("--remote-debugging-pipe")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {chromium}"))?;
        let stdin = child.stdin.take().context("its input is piped")?;
        let stdout = child.stdout.take().context("its output is piped")?;
        let (sender, messages) = channel();
        thread::spawn(move || {
            for message in BufReader::new(stdout).split(0) {
                let Ok(message) = message else { break };
                let Ok(message) = serde_json::from_slice(&message) else {
                    break;
                };
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let mut browser = Self {
            child,
            stdin,
            messages,
            last_id: 0,
            session: None,
            asked: Vec::new(),
            complaints: Vec::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }))?;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach)?;
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Network", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}))?;
        }
        let opened = browser.call("Page.navigate", json!({ "url": url }))?;
        ensure!(
            opened.get("errorText").is_none(),
            "{url}: {}",
            opened["errorText"]
        );
        Ok(browser)
    }

    /// Looks at the page until this expression of JavaScript is true.
    pub(super) fn waits_until(&mut self, deadline: Deadline, condition: &str) -> Result<()> {
        loop {
            let asked = json!({ "expression": condition, "returnByValue": true });
            let answer = self.call("Runtime.evaluate", asked)?;
            // What it asks for may not be there yet: that is not true either.
            if answer["result"]["value"] == json!(true) {
                return Ok(());
            }
            if deadline.is_over() {
                let text =
                    json!({ "expression": "document.body.innerText", "returnByValue": true });
                let page = self.call("Runtime.evaluate", text)?;
                bail!(
                    "never true: {condition}\nthe page says: {}",
                    page["result"]["value"]
                );
            }
            thread::sleep(PAUSE);
        }
    }

    /// A picture of what is seen, in PNG.
    pub(super) fn screenshot(&mut self) -> Result<Vec<u8>> {
        let answer = self.call("Page.captureScreenshot", json!({ "format": "png" }))?;
        let data = answer["data"].as_str().context("no picture")?;
        STANDARD.decode(data).context("the picture is not base64")
    }

    /// What the page has asked for, and what the browser did not like.
    pub(super) fn seen(&self) -> (&[String], &[String]) {
        (&self.asked, &self.complaints)
    }

    fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        self.last_id += 1;
        let mut message = json!({ "id": self.last_id, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.stdin
            .write_all(format!("{message}\0").as_bytes())
            .and_then(|()| self.stdin.flush())
            .context("the browser has gone")?;
        loop {
            let mut message = self
                .messages
                .recv_timeout(PATIENCE)
                .with_context(|| format!("the browser does not answer {method}"))?;
            if message["id"] == json!(self.last_id) {
                ensure!(
                    message.get("error").is_none(),
                    "{method}: {}",
                    message["error"]
                );
                return Ok(message["result"].take());
            }
            self.note(&message);
        }
    }

    fn note(&mut self, event: &Value) {
        let params = &event["params"];
        match event["method"].as_str() {
            Some("Network.requestWillBeSent") => {
                let url = params["request"]["url"].as_str().unwrap_or_default();
                self.asked.push(url.to_owned());
            }
            Some("Runtime.exceptionThrown") => {
                self.complaints.push(params["exceptionDetails"].to_string());
            }
            // A browser asks for an icon by itself.
            Some("Log.entryAdded") if !params.to_string().contains("favicon") => {
                self.complaints.push(params["entry"].to_string());
            }
            _ => {}
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // In order, so that nothing of it writes to the profile any more.
        self.session = None;
        self.call("Browser.close", json!({})).ok();
        self.child.wait().ok();
    }
}
