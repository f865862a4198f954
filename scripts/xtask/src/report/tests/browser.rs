//! Chromium without a window, which loads a page and is asked what it sees.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// Runs after the page's own scripts. The answer is all that is left of the page: the data and the scripts are words that a
/// test must not find by mistake.
const ASK: &str = r"<script>
(() => {
  const answer = JSON.stringify((() => { {question} })());
  document.documentElement.innerHTML = '<body></body>';
  document.body.textContent = 'answer:' + encodeURIComponent(answer) + ':end';
})();
</script>
</body>";

/// A page in a folder of its own.
pub(super) struct Browser {
    dir: TempDir,
    html: String,
}

impl Browser {
    pub(super) fn new(html: String) -> Self {
        Self { dir: tempfile::tempdir().expect("a folder for the page"), html }
    }

    /// Returns what a function with this body returns in the page.
    ///
    /// # Panics
    ///
    /// There is no Chromium, or the page complains on its console, or gives no answer.
    pub(super) fn ask(&self, hash: &str, question: &str) -> Value {
        let html = self.html.replace("</body>", &ASK.replace("{question}", question));
        let (dom, console) = self.run(&html, hash, &["--dump-dom", "--window-size=1400,1000"]);
        assert!(console.is_empty(), "the page complains: {console:#?}");
        let answer = dom.split_once("answer:").and_then(|(_, rest)| rest.split_once(":end"));
        let (answer, _) = answer.unwrap_or_else(|| panic!("the page gives no answer: {dom}"));
        serde_json::from_str(&decode(answer)).expect("the answer is JSON")
    }

    /// Returns a picture of the page, as PNG.
    pub(super) fn picture(&self, hash: &str, width: u32, height: u32) -> Vec<u8> {
        let path = self.dir.path().join("page.png");
        let (shot, size) = (format!("--screenshot={}", path.display()), format!("--window-size={width},{height}"));
        self.run(&self.html, hash, &[&shot, &size, "--hide-scrollbars", "--run-all-compositor-stages-before-draw"]);
        fs::read(path).expect("Chromium takes a picture")
    }

    /// Returns the page's elements, and what it says on its console.
    fn run(&self, html: &str, hash: &str, arguments: &[&str]) -> (String, Vec<String>) {
        let page = self.dir.path().join("page.html");
        fs::write(&page, html).expect("the page can be written");
        let output = chromium(self.dir.path())
            .args(arguments)
            .arg(format!("file://{}{hash}", page.display()))
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| {
                panic!("{} cannot be run ({error}); scripts/setup installs it", program().display())
            });
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "Chromium ended with {}: {complaints}", output.status);
        let console = complaints.lines().filter(|line| line.contains(":CONSOLE")).map(String::from).collect();
        (String::from_utf8_lossy(&output.stdout).into_owned(), console)
    }
}

/// What the environment's `CHROMIUM` names, else `chromium`.
fn program() -> PathBuf {
    env::var_os("CHROMIUM").filter(|name| !name.is_empty()).map_or_else(|| "chromium".into(), PathBuf::from)
}

/// No name resolves: what the page asks of a network fails, and says so on the console.
fn chromium(profile: &Path) -> Command {
    let mut command = Command::new(program());
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--enable-logging=stderr"]);
    command.args(["--host-resolver-rules=MAP * ~NOTFOUND", "--force-device-scale-factor=1", "--no-first-run"]);
    command.arg("--virtual-time-budget=10000").arg(format!("--user-data-dir={}", profile.join("profile").display()));
    command
}

/// Undoes `encodeURIComponent`.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digits = if byte == b'%' { rest.next().zip(rest.next()) } else { None };
        let value = digits.and_then(|(high, low)| u8::from_str_radix(str::from_utf8(&[high, low]).ok()?, 16).ok());
        bytes.push(value.unwrap_or(byte));
    }
    String::from_utf8(bytes).expect("the answer is text")
}
