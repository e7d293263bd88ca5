//! The Rust side of `wit/`, made from the contract itself.

wit_bindgen::generate!({
    path: "../../wit",
    world: "service",
    generate_all,
    pub_export_macro: true,
    export_macro_name: "export_service",
    default_bindings_module: "wasmyard_guest::bindings",
    additional_derives: [PartialEq],
    additional_derives_ignore: ["lookup-result", "fill", "transaction"],
});
