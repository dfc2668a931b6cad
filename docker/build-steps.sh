#!/bin/sh
# What makes the image, step by step. The Dockerfile runs each of these, and so does tests/e2e/test_image.py in a bare Debian of its own:
# there is no other way in which the image comes about.
#
#   build-tools        Debian's packages that building needs
#   packages SOURCE    the product's dependencies, by hash, into /opt/loopwright
#   product SOURCE     its wheel, made of the repository at SOURCE
#   flink              Flink out of its Python package, into /opt/flink; S3=presto adds the plugin for checkpoints in an object store
#   runtime            Debian's packages that running needs, the user, its folders
#   entrance SOURCE    the entry point, and `loopwright` on the PATH
set -eu

UV_VERSION=0.13.8
BUILD=/opt/build
HOME_OF_PRODUCT=/opt/loopwright
DATA=/var/lib/loopwright
USER_ID=10001

install_debian() {
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
    rm -rf /var/lib/apt/lists/*
    python3 -c 'import sys; v = sys.version_info[:2]; sys.exit(None if v == (3, 11) else "Python 3.11 is needed, this Debian has %d.%d" % v)'
}

step="${1:?name a step}"
shift
case "$step" in
    build-tools)
        install_debian ca-certificates python3 python3-venv
        python3 -m venv "$BUILD"
        "$BUILD/bin/pip" install -q "uv==$UV_VERSION"
        ;;
    packages)
        python3 -m venv --without-pip "$HOME_OF_PRODUCT"
        "$BUILD/bin/uv" pip sync -q --require-hashes --python "$HOME_OF_PRODUCT/bin/python" "$1/docker/requirements.lock"
        ;;
    product)
        wheels=$(mktemp -d)
        "$BUILD/bin/uv" build -q --wheel --python /usr/bin/python3 --build-constraints "$1/requirements.lock" --require-hashes -o "$wheels" "$1"
        "$BUILD/bin/uv" pip install -q --no-deps --python "$HOME_OF_PRODUCT/bin/python" "$wheels"/loopwright-*.whl
        rm -rf "$wheels"
        ;;
    flink)
        case "${S3-presto}" in
            presto) plugin=--s3 ;;
            "") plugin= ;;
            *) echo "S3 is '$S3'; it may be presto or empty" >&2; exit 2 ;;
        esac
        # shellcheck disable=SC2086  # no plugin is no argument
        "$HOME_OF_PRODUCT/bin/python" -m loopwright.edges.platform.image $plugin /opt/flink "$HOME_OF_PRODUCT"
        ;;
    runtime)
        # libpython: the JVM of a TaskManager has Python inside it
        install_debian ca-certificates python3 libpython3.11
        groupadd --gid "$USER_ID" loopwright
        useradd --uid "$USER_ID" --gid "$USER_ID" --home-dir "$DATA" --no-create-home --shell /usr/sbin/nologin loopwright
        # a named volume that is mounted here is given the owner of the folder
        for folder in "$DATA" "$DATA/data" "$DATA/data/checkpoints" "$DATA/data/savepoints" "$DATA/agents" "$DATA/run"; do
            install -d -o "$USER_ID" -g "$USER_ID" -m 0750 "$folder"
        done
        ;;
    entrance)
        install -m 0755 "$1/docker/entrypoint.sh" /docker-entrypoint.sh
        install -m 0644 "$1/docker/submit.py" /opt/loopwright/submit.py
        ln -sf "$HOME_OF_PRODUCT/bin/loopwright" /usr/local/bin/loopwright
        ;;
    *)
        echo "there is no step '$step'" >&2
        exit 2
        ;;
esac
