# squall in a container: built with all its C libraries inside, run as nobody in particular.
#
#   docker build -t squall .
#   docker run --read-only -v ./squall.yaml:/etc/squall/squall.yaml:ro -v squall:/var/lib/squall -v logs:/logs:ro squall
#
# The only place it writes to is /var/lib/squall, so the root file system can be read-only. Reading files that only
# root may read (/var/lib/docker/containers) needs `--user 0` or a group that may; a shared volume needs neither.

FROM rust:1-bookworm AS build
WORKDIR /squall
# The image brings what librdkafka and OpenSSL need to build: a C compiler, make and perl.
COPY . .
RUN cargo build --release --locked --bin squall

# The same Debian as above, so that the C library fits.
FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && install --directory --owner=10001 --group=10001 --mode=0750 /var/lib/squall
COPY --from=build /squall/target/release/squall /usr/local/bin/squall
USER 10001:10001
# Made and owned above: a new named volume takes over the owner of the folder that it covers.
VOLUME /var/lib/squall
# Who is not root keeps state below this directory: in /var/lib/squall.
ENV XDG_STATE_HOME=/var/lib
ENTRYPOINT ["squall"]
CMD ["run", "-c", "/etc/squall/squall.yaml"]
