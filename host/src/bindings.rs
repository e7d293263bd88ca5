//! The Rust side of `wit/`: types and traits made from the contract itself.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "service",
    imports: {
        // The four that answer from memory need no fiber switch.
        "wasmyard:platform/log": trappable,
        "wasmyard:platform/config": trappable,
        "wasmyard:platform/stats": trappable,
        "wasmyard:platform/trace": trappable,
        default: async | trappable,
    },
    exports: { default: async },
    with: {
        "wasmyard:platform/postgres.transaction": crate::capability::postgres::TransactionHandle,
        "wasmyard:platform/cache.fill": crate::capability::cache::FillHandle,
    },
});
