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
    src/verify/{chain,evidence,history,logs,authority,pins,subjects,commits,conform,consent,places,excerpt}.rs
    src/receipt/{check,names}.rs
    src/log/{read,checkpoint}.rs
    src/receipt/{envelope,policy,trust,statement}.rs
    src/verify/{mod,question,source,report}.rs
)
[ $# -eq 0 ] || files=("$@")

command -v cargo-mutants >/dev/null || cargo install cargo-mutants --locked

if [ ! -d "$folder" ]; then
    git worktree add --detach "$folder" HEAD
    # Dependencies need not be built again.
    [ ! -d "$here/target" ] || cp -a "$here/target" "$folder/target"
fi
cd "$folder"

# Built fast rather than fast when built: there are hundreds of mutants, and dependencies stay as they are.
export CARGO_PROFILE_DEV_OPT_LEVEL=0 CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_TEST_OPT_LEVEL=0 CARGO_PROFILE_TEST_DEBUG=0
export ATTACKS_FAIL_FAST=1
cargo test --test attacks
for file in "${files[@]}"; do
    [ -f "$file" ] || continue
    results="mutants/$(basename "$(dirname "$file")")-$(basename "$file" .rs)"
    mkdir -p "$results"
    # Only the attacks are asked: a mutant that only a unit test catches counts as missed.
    nice -n 15 cargo mutants --in-place --no-shuffle --baseline skip --timeout 240 --file "$file" \
        --cargo-arg=--test=attacks --output "$results" || true
done
