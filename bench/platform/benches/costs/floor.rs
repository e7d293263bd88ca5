//! Bare wasmtime, doing the same with nothing around it: no limits, no log, no deadline
//! but the one that the engine is compiled with.

use std::path::Path;

use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Engine, Result, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmyard::bindings::wasmyard::platform::http_types::{Request, Response};
use wasmyard::bindings::wasmyard::platform::redis;
use wasmyard::bindings::wasmyard::platform::services::{CallRequest, Error as CallError};
use wasmyard::bindings::{Service, ServicePre};

/// What WASI needs, and the instance that a call between services goes to.
pub(crate) struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    peer: Option<Box<Instance>>,
}

/// An instance with its store.
pub(crate) struct Instance {
    store: Store<State>,
    service: Service,
}

/// A component, linked.
pub(crate) struct Linked {
    engine: Engine,
    pre: ServicePre<State>,
}

impl Linked {
    /// Links a component to WASI, to a Redis whose `get` answers at once, and to a peer.
    pub(crate) fn new(engine: &Engine, component: &Component) -> Result<Self> {
        let mut linker = Linker::<State>::new(engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        linker.allow_shadowing(true);
        linker.define_unknown_imports_as_traps(component)?;
        type Value = std::result::Result<Option<Vec<u8>>, redis::Error>;
        linker
            .instance("wasmyard:platform/redis@1.0.0")?
            .func_wrap_async("get", |_, (_key,): (String,)| {
                Box::new(async { Ok((Value::Ok(Some(b"{}".to_vec())),)) })
            })?;
        type Answer = std::result::Result<Response, CallError>;
        linker.instance("wasmyard:platform/services@1.0.0")?.func_wrap_async(
            "call",
            |mut store, (_service, call): (String, CallRequest)| {
                Box::new(async move {
                    let mut peer = store.data_mut().peer.take();
                    let answer = match &mut peer {
                        Some(peer) => Answer::Ok(peer.handle(&request(&call.path, &call.query)).await?),
                        None => Answer::Err(CallError::NotGranted(String::new())),
                    };
                    store.data_mut().peer = peer;
                    Ok((answer,))
                })
            },
        )?;
        Ok(Self { engine: engine.clone(), pre: ServicePre::new(linker.instantiate_pre(component)?)? })
    }

    /// An instance of its own.
    pub(crate) async fn instantiate(&self, peer: Option<Instance>) -> Result<Instance> {
        let state =
            State { wasi: WasiCtx::builder().build(), table: ResourceTable::new(), peer: peer.map(Box::new) };
        let mut store = Store::new(&self.engine, state);
        // As long as a benchmark may take, in ticks.
        store.set_epoch_deadline(u64::MAX / 2);
        let service = self.pre.instantiate_async(&mut store).await?;
        Ok(Instance { store, service })
    }
}

impl Instance {
    /// Enters the guest and leaves it.
    pub(crate) async fn handle(&mut self, request: &Request) -> Result<Response> {
        self.service.wasmyard_platform_http_handler().call_handle(&mut self.store, request).await
    }
}

/// Loads compiled code.
pub(crate) fn load(engine: &Engine, code: &Path) -> Result<Component> {
    #[expect(unsafe_code, reason = "the file was written by this process' own store")]
    // SAFETY: the file is what the same engine serialized, and nobody else writes it.
    unsafe {
        Component::deserialize_file(engine, code)
    }
}

/// wasmtime's error as an opaque one.
pub(crate) fn opaque(error: wasmtime::Error) -> anyhow::Error {
    anyhow::Error::from_boxed(error.into_boxed_dyn_error())
}

/// A request as the host hands one over.
pub(crate) fn request(route: &str, query: &str) -> Request {
    Request {
        method: "GET".to_owned(),
        path: route.to_owned(),
        query: query.to_owned(),
        route: route.to_owned(),
        params: Vec::new(),
        headers: Vec::new(),
        body: Vec::new(),
        identity: None,
        request_id: "0199c0de-0000-7000-8000-000000000000".to_owned(),
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
