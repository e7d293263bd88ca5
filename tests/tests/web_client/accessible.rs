//! Whether everybody can use the page: names, contrast, widths, the keyboard.

use serde_json::json;
use wasmyard_tests::Shop;

use crate::page::{Page, SIZES};

/// Text whose contrast with what is behind it is below 4.5 (WCAG 2.2, success criterion
/// 1.4.3), as `text: ratio`.
const FAINT: &str = r#"
    const faint = [];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    let seen = 0;
    while (texts.nextNode()) {
        const element = texts.currentNode.parentElement;
        const text = texts.currentNode.data.trim();
        if (!text || !element.checkVisibility({ visibilityProperty: true }) || element.closest('noscript, :disabled, [aria-disabled=true], option')) continue;
        seen += 1;
        const found = ratio(rgba(getComputedStyle(element).color), behind(element));
        if (found < 4.5) faint.push(`${text}: ${found.toFixed(2)}`);
    }
    return seen > 20 ? faint : [`only ${seen} texts were seen`];
"#;

/// What can be used and cannot be told from what is around it: neither its border nor its
/// ground has a contrast of 3 (WCAG 2.2, success criterion 1.4.11).
const BLURRED: &str = r#"
    const blurred = [];
    const used = [...document.querySelectorAll('button:not(.link), input, select')]
        .filter(one => one.checkVisibility() && one.getAttribute('aria-disabled') !== 'true');
    for (const one of used) {
        const style = getComputedStyle(one);
        const around = behind(one.parentElement);
        const border = parseFloat(style.borderTopWidth) > 0 ? ratio(rgba(style.borderTopColor), around) : 1;
        const ground = rgba(style.backgroundColor);
        const best = Math.max(border, ground[3] === 255 ? ratio(ground, around) : 1);
        if (best < 3 && one.type !== 'checkbox') blurred.push(`${one.outerHTML}: ${best.toFixed(2)}`);
    }
    for (const dot of document.querySelectorAll('.dot')) {
        if (ratio(rgba(getComputedStyle(dot).backgroundColor), behind(dot.parentElement)) < 3) blurred.push('the dot');
    }
    return used.length > 5 ? blurred : [`only ${used.length} were seen`];
"#;

/// How the colours of these are compared.
const COLOURS: &str = r#"
    const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    const rgba = color => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const light = ([r, g, b]) => {
        const part = value => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
        return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
    };
    const behind = element => {
        for (; element; element = element.parentElement) {
            const color = rgba(getComputedStyle(element).backgroundColor);
            if (color[3] === 255) return color;
        }
        return [255, 255, 255, 255];
    };
    const ratio = (one, other) => {
        const [a, b] = [light(one), light(other)];
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    };
"#;

/// What can be used and has no name that is read out, or repeats an id.
const NAMELESS: &str = r#"
    const nameless = [...document.querySelectorAll('button, a, input, select, summary, dialog, section, nav')]
        .filter(element => {
            const by = element.getAttribute('aria-labelledby');
            const name = element.getAttribute('aria-label')
                ?? (by ? document.getElementById(by)?.textContent : null)
                ?? (element.labels?.length ? element.labels[0].textContent : null)
                ?? element.textContent;
            return !name?.trim();
        })
        .map(element => element.outerHTML);
    const ids = [...document.querySelectorAll('[id]')].map(element => element.id);
    return [...nameless, ...ids.filter((id, index) => ids.indexOf(id) !== index)];
"#;

/// What is wider than the page, which would have to be scrolled sideways.
const WIDE: &str =
    "return document.documentElement.scrollWidth > innerWidth ? document.documentElement.scrollWidth : null";

/// Keeps a picture of what the page shows, and checks that it can be read.
async fn scene(page: &Page, scene: &str, look: &str) {
    page.screenshot(&format!("{scene}-{look}")).await;
    for check in [FAINT, BLURRED] {
        let found = page.run(&format!("{COLOURS}{check}"), &[]).await;
        assert_eq!(found, json!([]), "{scene}, {look}");
    }
    assert_eq!(page.run(NAMELESS, &[]).await, json!([]), "{scene}, {look}");
    assert_eq!(page.run(WIDE, &[]).await, json!(null), "{scene}, {look}");
}

async fn bring_into_view(page: &Page, id: &str) {
    page.run("document.getElementById(arguments[0]).scrollIntoView()", &[id.into()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_read_at_both_widths_and_in_both_colours() {
    let shop = Shop::start().await;
    for (name, width, height) in SIZES {
        let page = Page::open(&shop.url("/"), (width, height)).await;
        for theme in ["light", "dark"] {
            let look = format!("{name}-{theme}");
            page.click("#theme").await;
            assert_eq!(
                page.run("return document.getElementById('theme-name').textContent", &[]).await,
                theme
            );
            scene(&page, "shop", &look).await;
            page.search("lamp").await;
            bring_into_view(&page, "products-panel").await;
            scene(&page, "search", &look).await;
            page.search(" ").await;

            page.click("#sign-in").await;
            page.type_into("#username", "diana").await;
            page.type_into("#password", "not-her-password").await;
            page.click("#login-submit").await;
            page.says("login-fault", "wrong").await;
            scene(&page, "login-fault", &look).await;
            page.click("#login-cancel").await;

            page.sign_in("diana").await;
            page.shows(8, "processing").await;
            page.add(&[1, 2]).await;
            bring_into_view(&page, "basket-panel").await;
            scene(&page, "basket", &look).await;
            page.click("[data-order=\"5\"] summary").await;
            page.wait_for("the history is shown", "return !!document.querySelector('.history li')").await;
            bring_into_view(&page, "orders-panel").await;
            scene(&page, "admin", &look).await;
            page.set_offline(true).await;
            page.is_in_state("offline").await;
            page.run("scrollTo(0, 0)", &[]).await;
            scene(&page, "offline", &look).await;
            page.set_offline(false).await;
            page.is_live().await;
            for product in ["Laptop", "Smartphone"] {
                page.click(&format!("[aria-label=\"Remove {product}\"]")).await;
            }
            page.click("#sign-out").await;

            page.sign_in("alice").await;
            page.shows(1, "processing").await;
            bring_into_view(&page, "orders-panel").await;
            scene(&page, "customer", &look).await;
            page.click("#sign-out").await;
            page.run("scrollTo(0, 0)", &[]).await;
        }
    }
}
