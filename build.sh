#!/usr/bin/env bash
# The only entry. Sets up what is missing, then:
#   ./build.sh [--port N] [--no-serve]   builds every variant and the site, and serves it on http://127.0.0.1:8080
#   ./build.sh dist                      builds the static site into www/dist
#   ./build.sh test                      runs every check and test
#   ./build.sh bench [--quick] [--json]  measures speed, ours and others', in Chromium; --help lists the parts
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

target=wasm32-unknown-unknown
tools=$PWD/target/tools

say() { printf '\033[1m==> %s\033[0m\n' "$*"; }
fail() { printf 'build.sh: %s\n' "$*" >&2; exit 1; }
usage() { sed -n '2,6s/^# \{0,1\}//p' build.sh; }

# --- set-up: each step looks first, so that the second time is quick ---

setup_rust() {
  command -v cargo >/dev/null || fail "cargo is not installed; install Rust with rustup (https://rustup.rs) and try again"
  local sysroot missing=()
  sysroot=$(rustc --print sysroot) || fail "rustc does not start; run 'rustup toolchain install' in this folder"
  [ -d "$sysroot/lib/rustlib/$target" ] || missing+=("target add $target")
  [ -d "$sysroot/lib/rustlib/src/rust/library" ] || missing+=("component add rust-src")
  cargo fmt --version >/dev/null 2>&1 || missing+=("component add rustfmt")
  cargo clippy --version >/dev/null 2>&1 || missing+=("component add clippy")
  [ ${#missing[@]} -eq 0 ] && return
  command -v rustup >/dev/null || fail "rustup is not installed; it is needed for: ${missing[*]}"
  local step
  for step in "${missing[@]}"; do
    say "rustup $step"
    # shellcheck disable=SC2086 # the words of a step are arguments
    rustup $step || fail "'rustup $step' failed; is the network reachable?"
  done
}

setup_bindgen() {
  local version
  version=$(awk '/^name = "wasm-bindgen"$/ { getline; gsub(/[^0-9.]/, ""); print; exit }' Cargo.lock)
  [ -n "$version" ] || fail "Cargo.lock names no wasm-bindgen"
  [ "$("$tools/bin/wasm-bindgen" --version 2>/dev/null)" = "wasm-bindgen $version" ] && return
  say "installing wasm-bindgen $version into target/tools (a few minutes, once)"
  # The tool must match the crate to the digit. Flags meant for wasm must not reach it.
  env -u RUSTFLAGS cargo install wasm-bindgen-cli --version "=$version" --root "$tools" --force \
    || fail "the wasm-bindgen tool could not be installed"
}

setup_node() {
  command -v npm >/dev/null || fail "Node.js 20 or newer with npm is not installed; install it and try again"
  [ "$(node -p 'process.versions.node.split(".")[0] >= 20')" = true ] \
    || fail "Node.js $(node --version) is too old; install version 20 or newer"
  [ www/node_modules/.package-lock.json -nt www/package-lock.json ] && return
  say "npm ci"
  (cd www && npm ci --no-fund --no-audit) || fail "'npm ci' failed in www/"
  touch www/node_modules/.package-lock.json
}

setup_browser() {
  find_browser && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing chromium and chromium-driver"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium chromium-driver fonts-nanum >/dev/null \
      || fail "apt-get could not install chromium and chromium-driver"
  fi
  find_browser || fail "no Chromium found; install it with its driver, or set CHROME and CHROMEDRIVER to their paths"
}

find_browser() {
  CHROME=${CHROME:-$(command -v chromium || command -v google-chrome || command -v chromium-browser || true)}
  CHROMEDRIVER=${CHROMEDRIVER:-$(command -v chromedriver || true)}
  export CHROME CHROMEDRIVER
  [ -x "$CHROME" ] && [ -x "$CHROMEDRIVER" ]
}

setup() {
  setup_rust
  setup_bindgen
  setup_node
}

# --- build ---

# Calls `$1 NAME RUSTFLAGS CARGO_ARGUMENTS` for every build in www/engine/variants.json, as it is delivered or,
# where $2 is "test", as it is tested.
each_variant() {
  local name flags arguments
  while IFS='|' read -r name flags arguments; do
    "$1" "$name" "$flags" "$arguments" </dev/null
  done < <(node www/scripts/variants.mjs "${2-}")
}

# Runs cargo for one build. To compile the standard library along, cargo wants the bootstrap key.
wasm_cargo() {
  local flags=$1
  shift
  env -u RUSTFLAGS RUSTC_BOOTSTRAP=1 CARGO_ENCODED_RUSTFLAGS="${flags// /$'\x1f'}" cargo "$@"
}

build_variant() {
  local name=$1 flags=$2 arguments=$3
  local built=target/wasm/$name/$target/wasm/nibblama.wasm out=www/engine/pkg/$name
  say "engine: $name"
  # shellcheck disable=SC2086
  wasm_cargo "$flags" build --quiet --lib --profile wasm --no-default-features --target-dir "target/wasm/$name" $arguments \
    || fail "the $name build of the engine failed"
  local input stale=false
  for input in "$built" www/scripts/{binaryen,optimize,split}.mjs; do
    [ "$out/.done" -nt "$input" ] || stale=true
  done
  if $stale; then
    rm -rf "$out"
    # Each step is checked: inside a condition the shell would go on after a failure.
    { "$tools/bin/wasm-bindgen" --target web --remove-producers-section --out-dir "$out" "$built" \
      && node www/scripts/optimize.mjs "$name" "$out" && touch "$out/.done"; } \
      || fail "the $name build of the engine could not be finished"
  fi
  node www/scripts/check-wasm.mjs "$name" "$out" || fail "the $name build of the engine is not as it should be"
}

build_engine() { each_variant build_variant; }

build_site() {
  build_engine
  say "site"
  { in_www npx --no-install vite build --logLevel warn && in_www npx --no-install vite build --mode bench --logLevel warn; } \
    || fail "the site could not be built"
  node www/scripts/sizes.mjs || fail "the site's scripts are too large"
}

# --- test ---

logs=$PWD/target/test-logs
failed=()

# Runs one step with its output kept; the steps after a failure run all the same.
step() {
  local title=$1
  shift
  say "$title"
  local log start=$SECONDS
  log=$logs/$(printf '%s' "$title" | tr -c 'A-Za-z0-9' '-').log
  if "$@" 2>&1 | tee "$log"; then
    printf '    %s: %d s\n' "$title" $((SECONDS - start))
  else
    failed+=("$title")
    printf '    %s: FAILED after %d s\n' "$title" $((SECONDS - start))
  fi
}

# with NAME=VALUE... -- FUNCTION ARGUMENTS...: calls a function of this script with variables set.
with() (
  while [ "$1" != -- ]; do
    export "${1?}"
    shift
  done
  shift
  "$@"
)

in_www() { (cd www && "$@"); }

webdriver_config() {
  cat >webdriver.json <<JSON
{ "goog:chromeOptions": { "binary": "$CHROME", "args": ["--headless=new", "--no-sandbox", "--disable-gpu",
  "--disable-dev-shm-usage", "--disable-quic", "--disable-background-networking", "--disable-component-update",
  "--disable-sync"] } }
JSON
}

# The same tests in node, in a page and in a dedicated worker.
test_variant() {
  local name=$1 flags=$2 arguments=$3
  local place
  export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER=$tools/bin/wasm-bindgen-test-runner NIBBLAMA_VARIANT=$name
  for place in node page worker; do
    local variables=() tests=(--test wasm)
    # The case table of the kernels runs where they are used: Node.js 20 adds relaxed dot products wrongly.
    [ "$place" = page ] && tests+=(--test kernels)
    case $place in
      node) variables=(NODE_ARGS=--experimental-wasm-relaxed-simd) ;;
      page) variables=(WASM_BINDGEN_USE_BROWSER=1) ;;
      worker) variables=(WASM_BINDGEN_USE_DEDICATED_WORKER=1) ;;
    esac
    # shellcheck disable=SC2086
    step "wasm: $name in $place" with "${variables[@]}" -- wasm_cargo "$flags" test \
      --no-default-features --target-dir "target/wasm/$name" $arguments "${tests[@]}"
  done
  unset CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER NIBBLAMA_VARIANT
}

run_tests() {
  setup_browser
  webdriver_config
  rm -rf "$logs"
  mkdir -p "$logs"
  step "format" cargo fmt --all --check
  step "clippy" cargo clippy --all-targets --all-features -- -D warnings
  step "clippy for wasm" cargo clippy --lib --test wasm --test kernels --no-default-features --target $target \
    --target-dir target/wasm/clippy -- -D warnings
  step "docs" env RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --all-features
  step "native" cargo test --all-features
  if [ -f tests/malformed.rs ]; then
    step "malformed files" cargo test --release --test malformed
  fi
  step "engine and site" build_site
  each_variant test_variant test
  step "types" in_www npm run --silent check
  step "vitest" in_www npx --no-install vitest run
  step "engine test page" in_www env NIBBLAMA_HARNESS=1 npx --no-install vite build --logLevel warn
  step "npm package" in_www node scripts/package.mjs
  step "crate" cargo package --quiet --allow-dirty --no-verify
  step "playwright" in_www npx --no-install playwright test

  [ ${#failed[@]} -eq 0 ] || printf 'build.sh: failed: %s\n' "${failed[@]}" >&2
  # The sum is the last line, whatever happened.
  node www/scripts/summary.mjs "$logs" "${#failed[@]}"
  [ ${#failed[@]} -eq 0 ]
}

# --- benchmark ---

run_bench() {
  setup_browser >&2
  build_site >&2
  (cd www && node bench/run.mjs "$@")
}

# --- command line ---

if [ "${1-}" = bench ]; then
  shift
  setup >&2
  run_bench "$@"
  exit
fi

command=serve port=8080 serve=true
while [ $# -gt 0 ]; do
  case $1 in
    test | dist) command=$1 ;;
    --no-serve) serve=false ;;
    --port)
      [[ ${2-} =~ ^[0-9]+$ ]] || fail "--port needs a number"
      port=$2
      shift
      ;;
    -h | --help) usage; exit ;;
    *) usage >&2; fail "unknown argument: $1" ;;
  esac
  shift
done

setup
case $command in
  test) run_tests ;;
  dist) build_site; say "the site is in www/dist" ;;
  serve)
    build_site
    if $serve; then
      say "serving; Ctrl-C ends it"
      exec node www/server.mjs --root dist --port "$port"
    fi
    ;;
esac
