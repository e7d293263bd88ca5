//! The keyboard: everything can be done with it, and the focus is never lost.

use serde_json::json;
use wasmyard_tests::Shop;

use crate::page::{Page, SIZES};

const ENTER: &str = "\u{e007}";
const TAB: &str = "\u{e004}";

#[tokio::test(flavor = "multi_thread")]
async fn the_keyboard_alone_is_enough_to_order() {
    let shop = Shop::start().await;
    for (_, width, height) in SIZES {
        let page = Page::open(&shop.url("/"), (width, height)).await;
        page.tab_to("sign-in").await;
        page.press(ENTER).await;
        page.wait_for("the dialog is open", "return document.getElementById('login').open").await;
        assert_eq!(page.focus().await, "username");
        for keys in ["alice", TAB, "alice-password", ENTER] {
            page.press(keys).await;
        }
        page.is_live().await;
        assert_eq!(page.text("#who").await, "alice");
        page.wait_for("the dialog is closed", "return !document.getElementById('login').open").await;
        // What had opened the dialog is gone.
        assert_eq!(page.focus().await, "sign-out");

        page.shows(1, "processing").await;
        let before = page.orders().await;
        page.tab_to("Add Desk Lamp to the basket").await;
        page.press(ENTER).await;
        page.press(ENTER).await;
        page.tab_to("Quantity of Desk Lamp").await;
        assert_eq!(page.run("return document.activeElement.value", &[]).await, "2");
        page.tab_to("place").await;
        page.press(ENTER).await;
        page.newer_than(&before).await;
        assert_eq!(page.focus().await, "basket-title");
        page.is_clean(&shop).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_disappears_hands_the_focus_on() {
    let shop = Shop::start().await;
    let page = Page::of(&shop).await;
    page.sign_in("diana").await;
    page.add(&[1, 2, 3]).await;
    page.click("[aria-label=\"Remove Smartphone\"]").await;
    assert_eq!(page.focus().await, "Remove Headphones");
    page.press(ENTER).await;
    assert_eq!(page.focus().await, "Remove Laptop");
    page.press(ENTER).await;
    assert_eq!(page.focus().await, "basket-title");

    // A step of the workflow is followed by the next one, and an open history stays open.
    page.shows(4, "pending").await;
    page.click("[data-order=\"4\"] summary").await;
    page.click("[data-order=\"4\"] .small").await;
    for (status, next) in
        [("processing", "Ship order 4"), ("shipped", "Deliver order 4"), ("delivered", "History")]
    {
        page.shows(4, status).await;
        page.wait_for("the step is in the history", &format!("return document.querySelector('[data-order=\"4\"] .history').textContent.includes('{status}')"))
            .await;
        assert_eq!(page.focus().await, next);
        page.press(if status == "delivered" { TAB } else { ENTER }).await;
    }
    assert_eq!(page.run("return document.querySelector('[data-order=\"4\"] details').open", &[]).await, true);

    page.click("#sign-out").await;
    page.wait_for("nobody is signed in", "return document.getElementById('who').hidden").await;
    assert_eq!(page.focus().await, "sign-in");
    page.is_clean(&shop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_read_out() {
    let shop = Shop::start().await;
    let page = Page::of(&shop).await;
    let regions = "
        const role = id => document.getElementById(id).closest('[role]')?.role;
        return [role('activity'), role('connection-text'), role('found'), role('notices'), role('basket-fault'),
            document.querySelectorAll('button [role], a [role]').length, document.querySelectorAll('h1').length]";
    let found = page.run(regions, &[]).await;
    assert_eq!(found, json!(["log", "status", "status", "status", "alert", 0, 1]));

    // The same fault a second time is new: the region was empty in between.
    page.click("#sign-in").await;
    page.run("window.said = []; new MutationObserver(() => said.push(document.getElementById('login-fault').textContent)).observe(document.getElementById('login-fault'), { childList: true })", &[]).await;
    page.type_into("#username", "alice").await;
    page.type_into("#password", "wrong-password").await;
    let wrong = "The username or the password is wrong.";
    for times in 1..=2 {
        page.press(ENTER).await;
        page.wait_for(
            "the fault is said",
            &format!("return said.filter(text => text === '{wrong}').length === {times}"),
        )
        .await;
        // Ready to be typed anew.
        assert_eq!(page.focus().await, "password");
    }
    assert_eq!(
        page.run("return said.filter((text, at) => text !== said[at - 1])", &[]).await,
        json!([wrong, "", wrong])
    );
}
