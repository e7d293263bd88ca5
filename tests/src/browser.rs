//! A real Chromium, without a window, that a test drives through WebDriver.
//!
//! It speaks the few commands of the W3C's protocol that tests need through the HTTP client
//! that they have anyway. The two libraries for it would turn on features of `syn` and of
//! `serde_json` for the whole workspace: with the one, everything that derives `serde`, the
//! WebAssembly engine among it, is compiled a second time, and with the other the members of
//! all JSON change their order.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use wasmyard::testing::servers::free_port;

use crate::{eventually, until, within};

/// Starts the driver in a process group of its own, and ends that, the browser with it, and
/// the browser's files when the pipe is closed: by this program, or by the kernel when this
/// program is gone.
const KEEPER: &str = r#"
set -m
folder=$1; shift
"$@" &
read -r _
kill -KILL -- -$!
for _ in $(seq 50); do rm -rf "$folder"; sleep 0.1; [ -e "$folder" ] || exit; done
"#;

/// As the driver is to start the browser. As root it has no sandbox of its own; the rest
/// keeps it from asking anybody for anything by itself.
const FLAGS: [&str; 9] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-crash-reporter",
];

/// How long a script of a test may take, promises included.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(30);

/// A browser with one page, an empty profile and trust in any certificate. It ends when it
/// is dropped, and when the test's process ends, in whatever way.
pub struct Browser {
    client: reqwest::Client,
    /// The address of its WebDriver session.
    session: String,
    keeper: Child,
}

impl Browser {
    /// Opens an empty page of this size, in CSS pixels.
    ///
    /// # Panics
    /// When there is no `chromedriver`, or no Chromium: `scripts/setup.sh --for-tests`
    /// installs both.
    pub async fn open(width: u32, height: u32) -> Self {
        let folder = TempDir::with_prefix("wasmyard-browser-").expect("a temporary folder").keep();
        let port = free_port();
        let keeper = Command::new("bash")
            .args(["-c", KEEPER, "keeper"])
            .arg(&folder)
            .args(["chromedriver", &format!("--port={port}"), "--log-level=OFF"])
            // Its caches and the shared memory of its processes go with the folder.
            .env("HOME", &folder)
            .env("TMPDIR", &folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("bash");
        // The driver speaks plain HTTP; the client wants to be ready for more.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let mut browser = Self { client, session: format!("http://127.0.0.1:{port}"), keeper };
        until("chromedriver answers", async || {
            browser.try_call(Method::GET, "/status", &Value::Null).await.is_ok()
        })
        .await;

        let mut flags = FLAGS.map(str::to_owned).to_vec();
        flags.push(format!("--user-data-dir={}", folder.join("profile").display()));
        flags.push(format!("--window-size={width},{height}"));
        let wanted = json!({
            "browserName": "chrome",
            "acceptInsecureCerts": true,
            "timeouts": { "script": SCRIPT_TIMEOUT.as_millis() },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
            "goog:chromeOptions": { "args": flags },
        });
        let opened = json!({ "capabilities": { "alwaysMatch": wanted } });
        let opened = browser.call(Method::POST, "/session", opened).await;
        let id = opened["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {opened}"));
        browser.session = format!("{}/session/{id}", browser.session);
        browser.resize(width, height).await;
        // Debian's first page is one of a search engine's; it is no page of the test.
        browser.goto("about:blank").await;
        browser.requests().await;
        browser
    }

    /// Gives the page this size, in CSS pixels.
    pub async fn resize(&self, width: u32, height: u32) {
        // Chromium's windows are at least 500 pixels wide; a page need not be.
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// Takes the network away from the page, as the browser of a laptop in a tunnel has it, or
    /// gives it back.
    pub async fn set_offline(&self, offline: bool) {
        let conditions =
            json!({ "offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1 });
        self.devtools("Network.emulateNetworkConditions", conditions).await;
    }

    /// Opens another tab of the same profile, empty, in which all goes on from here; gives the
    /// names of the one before and of this one.
    pub async fn open_tab(&self) -> [String; 2] {
        let before = self.call(Method::GET, "/window", Value::Null).await;
        let opened = self.call(Method::POST, "/window/new", json!({ "type": "tab" })).await;
        let names = [&before, &opened["handle"]].map(|name| name.as_str().expect("a tab's name").to_owned());
        self.switch_to(&names[1]).await;
        names
    }

    /// Goes on in another tab.
    pub async fn switch_to(&self, tab: &str) {
        self.call(Method::POST, "/window", json!({ "handle": tab })).await;
    }

    /// Opens an address, and waits until the page has been loaded.
    pub async fn goto(&self, url: &str) {
        self.call(Method::POST, "/url", json!({ "url": url })).await;
    }

    /// Runs the body of a function in the page, with `arguments` as its arguments, and gives
    /// what it returns; a promise is waited for.
    ///
    /// # Panics
    /// When it throws, or takes longer than half a minute.
    pub async fn run(&self, script: &str, arguments: &[Value]) -> Value {
        self.call(Method::POST, "/execute/sync", json!({ "script": script, "args": arguments })).await
    }

    /// Runs a script again and again until it returns something that is true in JavaScript,
    /// and gives that.
    ///
    /// # Panics
    /// When it does not in time, as with [`eventually`].
    pub async fn wait_for(&self, what: &str, script: &str) -> Value {
        eventually(what, async || {
            let found = self.run(script, &[]).await;
            let lacks = matches!(&found, Value::Null | Value::Bool(false))
                || found == ""
                || found.as_f64().is_some_and(|number| number == 0.0);
            (!lacks).then_some(found)
        })
        .await
    }

    /// The text of the first element of a CSS selector as people see it, once there is one.
    pub async fn text(&self, selector: &str) -> String {
        let element = self.find(selector).await;
        let text = self.call(Method::GET, &format!("/element/{element}/text"), Value::Null).await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Clicks on the first element of a CSS selector, as a mouse does, once it takes clicks.
    pub async fn click(&self, selector: &str) {
        until(&format!("{selector} takes clicks"), async || {
            // To the middle, as people scroll: at the edge of a phone's page a bar may be above it.
            let centre = "document.querySelector(arguments[0])?.scrollIntoView({ block: 'center' })";
            self.run(centre, &[selector.into()]).await;
            let element = self.find(selector).await;
            self.try_call(Method::POST, &format!("/element/{element}/click"), &json!({})).await.is_ok()
        })
        .await;
    }

    /// Types into the first element of a CSS selector, after what stands there.
    pub async fn type_into(&self, selector: &str, text: &str) {
        let element = self.find(selector).await;
        self.call(Method::POST, &format!("/element/{element}/value"), json!({ "text": text })).await;
    }

    /// Presses keys where the focus is: letters, or WebDriver's code points for the others.
    pub async fn press(&self, keys: &str) {
        let active = self.call(Method::GET, "/element/active", Value::Null).await;
        let active = active.as_object().and_then(|element| element.values().next()?.as_str());
        let active = active.expect("something has the focus");
        self.call(Method::POST, &format!("/element/{active}/value"), json!({ "text": keys })).await;
    }

    /// What the page has written to its console since the last look, warnings and errors
    /// alone; what the browser refuses, as against a `Content-Security-Policy`, is there too.
    pub async fn complaints(&self) -> Vec<String> {
        let lines = self.log("browser").await;
        let grave = |line: &&Value| line["level"] == "SEVERE" || line["level"] == "WARNING";
        lines.iter().filter(grave).map(|line| line["message"].to_string()).collect()
    }

    /// The addresses that the page has asked for since the last look, `data:` and `blob:`
    /// left out, which nobody is asked for.
    pub async fn requests(&self) -> Vec<String> {
        let lines = self.log("performance").await;
        let events = lines.iter().filter_map(|line| {
            let event: Value = serde_json::from_str(line["message"].as_str()?).ok()?;
            let event = &event["message"];
            let url = match event["method"].as_str()? {
                "Network.requestWillBeSent" => event["params"]["request"]["url"].as_str(),
                "Network.webSocketCreated" => event["params"]["url"].as_str(),
                _ => None,
            };
            url.map(str::to_owned)
        });
        events.filter(|url| !url.starts_with("data:") && !url.starts_with("blob:")).collect()
    }

    /// Takes a picture of the page, and keeps it as `NAME.png` in the folder that
    /// `WASMYARD_SCREENSHOTS` names, or else in `wasmyard-screenshots` among the system's
    /// temporary files: outside the checkout in any case.
    pub async fn screenshot(&self, name: &str) -> PathBuf {
        let shot = self.devtools("Page.captureScreenshot", json!({ "captureBeyondViewport": false })).await;
        let png = shot["data"].as_str().and_then(decode).expect("a picture");
        let folder = std::env::var_os("WASMYARD_SCREENSHOTS").map_or_else(temporary, PathBuf::from);
        std::fs::create_dir_all(&folder).expect("a folder for pictures");
        let path = folder.join(format!("{name}.png"));
        std::fs::write(&path, png).expect("a file for the picture");
        path
    }

    /// The WebDriver name of the first element of a CSS selector, once there is one.
    async fn find(&self, selector: &str) -> String {
        let by = json!({ "using": "css selector", "value": selector });
        eventually(selector, async || {
            let found = self.try_call(Method::POST, "/element", &by).await.ok()?;
            found.as_object()?.values().next()?.as_str().map(str::to_owned)
        })
        .await
    }

    /// A command of Chromium's own protocol.
    async fn devtools(&self, command: &str, params: Value) -> Value {
        self.call(Method::POST, "/goog/cdp/execute", json!({ "cmd": command, "params": params })).await
    }

    async fn log(&self, kind: &str) -> Vec<Value> {
        let lines = self.call(Method::POST, "/se/log", json!({ "type": kind })).await;
        lines.as_array().cloned().unwrap_or_default()
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> Value {
        let answer = self.try_call(method, path, &body).await;
        answer.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Sends a command, `null` standing for no body.
    async fn try_call(&self, method: Method, path: &str, body: &Value) -> Result<Value, String> {
        let request = self.client.request(method, format!("{}{path}", self.session));
        let request = if body.is_null() { request } else { request.json(body) };
        let answer = within(path, request.send()).await.map_err(|error| format!("{error:?}"))?;
        let status = answer.status();
        let mut answer: Value =
            within(path, answer.json()).await.map_err(|error| format!("{status}: {error:?}"))?;
        let value = answer["value"].take();
        if status.is_success() { Ok(value) } else { Err(format!("{status}: {value}")) }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

fn decode(base64: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(base64).ok()
}

fn temporary() -> PathBuf {
    std::env::temp_dir().join("wasmyard-screenshots")
}
