#!/usr/bin/env bash
# Takes each check out of the verifier, one at a time, and sees whether the attacks notice. Outside CI: it takes hours.
#
#   tests/attacks/mutants.sh [FILE…]     the files to mutate; without any, all of the verifier
#
# Works in a worktree of its own at HEAD (`$MUTANTS_FOLDER`, else beside the repository), which it leaves with the results in
# `mutants/`. The suite has to pass at HEAD: that is not tried anew for each file. `docs/mutants.md` says what came of the last run.
set -euo pipefail

here=$(git rev-parse --show-toplevel)
folder=${MUTANTS_FOLDER:-$here-mutants}
# The most important first: a run that is cut short has then said most.
files=(
    src/verify/{chain,evidence,history,logs,heads,authority,pins,subjects,commits,conform,consent,places,excerpt}.rs
    src/receipt/{check,names}.rs
    src/log/{read,checkpoint}.rs
    src/receipt/{envelope,policy,policy/trusted,trust,trust/trusted_key,payload,statement,statement/questions}.rs
    src/verify/{mod,question,source,report}.rs
    src/receipt/{run_file,key,sandbox}.rs
    src/json.rs src/log/{name,tree}.rs
)
[ $# -eq 0 ] || files=("$@")

command -v cargo-mutants >/dev/null || cargo install cargo-mutants --locked

if [ ! -d "$folder" ]; then
    git worktree add --detach "$folder" HEAD
    # Dependencies need not be built again.
    [ ! -d "$here/target" ] || cp -a "$here/target" "$folder/target"
fi
git -C "$folder" checkout -q --detach "$(git rev-parse HEAD)"
cd "$folder"

# Built fast rather than fast when built: there are hundreds of mutants, and dependencies stay as they are.
export CARGO_PROFILE_DEV_OPT_LEVEL=0 CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_TEST_OPT_LEVEL=0 CARGO_PROFILE_TEST_DEBUG=0
export ATTACKS_FAIL_FAST=1
# The suite is built once, before any mutant: it attacks whatever binary lies in `target/`, and its own part of the library stays sound.
git checkout -q -- src
cargo test --locked --no-run --test attacks
suite=$(cargo test --locked --no-run --test attacks --message-format=json 2>/dev/null |
    sed -n 's/.*"executable":"\([^"]*\/attacks-[^"]*\)".*/\1/p')
cp "$suite" mutants-suite
export ATTACKS_SUITE=$PWD/mutants-suite
./mutants-suite -q
cat >tests/mutant.rs <<'TEST'
//! The attacks that were built before the mutant was.
#[test]
fn is_noticed() {
    let suite = std::env::var("ATTACKS_SUITE").expect("the script sets it");
    let status = std::process::Command::new(suite).arg("-q").status().expect("it runs");
    assert!(status.success(), "{}", env!("CARGO_BIN_EXE_madmall"));
}
TEST
for file in "${files[@]}"; do
    [ -f "$file" ] || continue
    results="mutants/$(basename "$(dirname "$file")")-$(basename "$file" .rs)"
    mkdir -p "$results"
    # Only the attacks are asked: a mutant that only a unit test catches counts as missed.
    nice -n 15 cargo mutants --in-place --no-shuffle --baseline skip --timeout 120 --file "$file" \
        --cargo-arg=--test=mutant --output "$results" || true
done
