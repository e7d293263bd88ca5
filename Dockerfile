# syntax=docker/dockerfile:1

# The host and the shop's components, in an image that holds them and nothing to build
# with.
#
#   docker build --tag wasmyard .

FROM rust:1.95.0-bookworm AS build
# The one that the image has: rust-toolchain.toml names a channel, which would be fetched.
ENV RUSTUP_TOOLCHAIN=1.95.0
RUN rustup target add wasm32-wasip2
WORKDIR /src
COPY . .
# Cargo's downloads and what it has built stay between builds; what is kept of them is
# copied out in the same step. An image is built once and runs for weeks, so the linking
# that takes minutes is worth it here.
ENV CARGO_PROFILE_RELEASE_LTO=thin \
    CARGO_PROFILE_RELEASE_STRIP=true
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package wasmyard \
    && target/release/wasmyard build \
    && install -D -t /out/bin target/release/wasmyard \
    && install -D -m 644 -t /out/srv/target/wasm32-wasip2/component \
        target/wasm32-wasip2/component/users.wasm \
        target/wasm32-wasip2/component/products.wasm \
        target/wasm32-wasip2/component/orders.wasm \
    && cp -r wasmyard.toml migrations sample_data web /out/srv/

FROM debian:bookworm-slim
# A number, so that Kubernetes can tell that it is not root. The state folder and the
# one of its certificate are this user's, and so is a volume that is made for them.
RUN useradd --uid 10001 --no-create-home --home-dir /srv/wasmyard --shell /usr/sbin/nologin wasmyard \
    && install -d -o wasmyard -g wasmyard -m 700 /srv/wasmyard/.wasmyard /srv/wasmyard/.wasmyard/tls
COPY --from=build /out/bin/ /usr/local/bin/
COPY --from=build /out/srv/ /srv/wasmyard/
WORKDIR /srv/wasmyard
USER 10001:10001
# Where the manifest looks for components.
ENV CARGO_TARGET_DIR=/srv/wasmyard/target \
    WASMYARD_BIND=0.0.0.0 \
    WASMYARD_HTTPS_PORT=8443 \
    WASMYARD_HTTP_PORT=false \
    WASMYARD_LOG_FORMAT=json
EXPOSE 8443
VOLUME ["/srv/wasmyard/.wasmyard"]
# The operator's API answers, so the host serves; what its services say is in
# /api/health.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --start-interval=1s --retries=3 \
    CMD ["wasmyard", "status"]
# Drains: requests in flight are answered before it ends.
STOPSIGNAL SIGTERM
ENTRYPOINT ["wasmyard"]
CMD ["up"]
