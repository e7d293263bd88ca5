//! What somebody does on the page.

use std::ops::Deref;

use serde_json::{Value, json};
use wasmyard_tests::{Browser, Shop};

/// A desktop's page and a phone's, in CSS pixels.
pub(crate) const SIZES: [(&str, u32, u32); 2] = [("desktop", 1280, 900), ("phone", 390, 844)];

/// The web client in a browser of its own.
pub(crate) struct Page(Browser);

impl Page {
    /// Opens it at an address, as wide and high as that.
    pub(crate) async fn open(address: &str, size: (u32, u32)) -> Self {
        let page = Self::begin(address, size).await;
        page.has_products().await;
        page
    }

    /// Opens it where there may be nothing to show yet.
    pub(crate) async fn begin(address: &str, (width, height): (u32, u32)) -> Self {
        let browser = Browser::open(width, height).await;
        browser.goto(address).await;
        Self(browser)
    }

    /// The shop's own, on a desktop.
    pub(crate) async fn of(shop: &Shop) -> Self {
        Self::open(&shop.url("/"), (SIZES[0].1, SIZES[0].2)).await
    }

    /// Waits for products.
    pub(crate) async fn has_products(&self) {
        self.wait_for("products are shown", "return document.querySelectorAll('.card').length").await;
    }

    /// Signs one of the sample users in, and waits until the stream of events stands.
    pub(crate) async fn sign_in(&self, username: &str) {
        self.click("#sign-in").await;
        self.type_into("#username", username).await;
        self.type_into("#password", &format!("{username}-password")).await;
        self.click("#login-submit").await;
        self.wait_for("somebody is signed in", "return !document.getElementById('who').hidden").await;
        self.wait_for("the dialog is closed", "return !document.getElementById('login').open").await;
        self.is_live().await;
    }

    /// Waits until the stream of events stands.
    pub(crate) async fn is_live(&self) {
        self.is_in_state("live").await;
    }

    /// Waits for a state of the stream.
    pub(crate) async fn is_in_state(&self, state: &str) {
        let script = format!("return document.getElementById('connection').dataset.state === '{state}'");
        self.wait_for(&format!("the connection is {state}"), &script).await;
    }

    /// Waits until the page shows an order in a state.
    pub(crate) async fn shows(&self, order: i64, status: &str) {
        let script = format!(
            "return document.querySelector('#orders [data-order=\"{order}\"]')?.dataset.status === '{status}'"
        );
        self.wait_for(&format!("order {order} is shown as {status}"), &script).await;
    }

    /// Waits until an element, of that id, says something.
    pub(crate) async fn says(&self, id: &str, text: &str) {
        let script = format!("return document.getElementById('{id}').textContent.includes({})", json!(text));
        self.wait_for(&format!("#{id} says {text:?}"), &script).await;
    }

    /// The orders shown, from above to below.
    pub(crate) async fn orders(&self) -> Value {
        self.run("return [...document.querySelectorAll('#orders > li')].map(row => +row.dataset.order)", &[])
            .await
    }

    /// Waits for an order above these, and gives its id.
    pub(crate) async fn newer_than(&self, orders: &Value) -> i64 {
        let made = format!(
            "const first = document.querySelector('#orders > li'); return first && +first.dataset.order !== {} && +first.dataset.order",
            orders[0]
        );
        self.wait_for("the new order is above all others", &made).await.as_i64().expect("an id")
    }

    /// Searches for words, and waits until what was found is shown.
    pub(crate) async fn search(&self, words: &str) {
        self.run("document.getElementById('q').value = ''", &[]).await;
        self.type_into("#q", words).await;
        // What was found for the first letters stands there for a while.
        let shown =
            format!("return document.getElementById('search').dataset.shown === {}", json!(words.trim()));
        self.wait_for(&format!("{words} was searched for"), &shown).await;
    }

    /// Puts products into the basket by their ids.
    pub(crate) async fn add(&self, products: &[i32]) {
        for product in products {
            self.click(&format!("[data-product=\"{product}\"] button")).await;
        }
    }

    /// What has the focus: its id, or else its text.
    pub(crate) async fn focus(&self) -> String {
        let script = "const active = document.activeElement; return active.id || active.ariaLabel || active.textContent.trim().slice(0, 60)";
        self.run(script, &[]).await.as_str().expect("a text").to_owned()
    }

    /// Presses Tab until something has the focus, by id or text.
    pub(crate) async fn tab_to(&self, wanted: &str) {
        let mut passed = Vec::new();
        while passed.last().map(String::as_str) != Some(wanted) {
            // Tab, as WebDriver writes it.
            self.press("\u{e004}").await;
            passed.push(self.focus().await);
            assert!(passed.len() < 60, "{wanted} is not reached: {passed:?}");
        }
    }

    /// Checks that nothing was asked of another host, and that nothing was complained about.
    pub(crate) async fn is_clean(&self, shop: &Shop) {
        let (https, socket) = (shop.url("/"), shop.url("/").replace("https:", "wss:"));
        let requests = self.requests().await;
        let foreign = requests.iter().find(|url| !url.starts_with(&https) && !url.starts_with(&socket));
        assert_eq!(foreign, None);
        assert_eq!(self.complaints().await, [""; 0]);
    }
}

impl Deref for Page {
    type Target = Browser;

    fn deref(&self) -> &Browser {
        &self.0
    }
}
