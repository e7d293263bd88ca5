//! What the page costs whoever opens it.

use wasmyard_tests::Shop;

use crate::page::Page;

/// Bytes of the page's own files, as they are sent: less than a second on a slow phone network
/// (400 kbit/s). It is not much more than it takes now, so that it grows with intent alone.
const WEIGHT_BYTES_MAX: u64 = 32 * 1024;
/// Requests for those files.
const FILES_MAX: u64 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_small_and_asks_for_little() {
    let shop = Shop::start().await;
    let page = Page::of(&shop).await;
    let weigh = "
        const all = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')];
        const path = ({ name }) => new URL(name).pathname;
        const own = all.filter(one => !path(one).startsWith('/api/'));
        const asked = new Set(all.map(path).filter(name => name.startsWith('/api/')));
        return [own.length, own.reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0), asked.size]";
    let found = page.run(weigh, &[]).await;
    let [files, bytes, asked] = [0, 1, 2].map(|index| found[index].as_u64().expect("a count"));
    assert!(bytes > 5_000 && bytes <= WEIGHT_BYTES_MAX, "{bytes} bytes");
    assert!(files <= FILES_MAX, "{files} files");
    // The products, and how the services are.
    assert!(asked <= 2, "{asked} questions");
}
