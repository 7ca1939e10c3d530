#!/usr/bin/env bash
# Build the packed trees on a GPU machine: build.sh PACKED_FOLDER WORK_FOLDER [ARCHITECTURES]
# WORK/tree and WORK/tree-stock each get a build/ folder. A second call rebuilds only what changed.
set -euo pipefail
if [ $# -lt 2 ] || [ "${1#-}" != "$1" ]; then
    sed -n '2,3s/^# //p' "$0"
    [ "${1-}" = --help ] || [ "${1-}" = -h ]; exit
fi
packed=$(realpath "$1"); work=$2; architectures=${3:-native}
mkdir -p "$work"; cd "$work"
targets="llama-bench llama-batched-bench llama-perplexity llama-server test-backend-ops llama-fit-params llama-quantize"

# A packed tree has no git to ask which commit it is, and a git around it would name its own: both are told, and git is not asked.
commit() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]][:12])' "$packed/series.json" "$1"; }

for tree in tree-stock tree; do
    [ -f "$packed/$tree.tgz" ] || continue
    # unpack beside, then copy by content: files that did not change keep their time, so that ninja leaves their objects alone
    rm -rf "$tree.new" && mkdir "$tree.new" && tar -xzf "$packed/$tree.tgz" -C "$tree.new" --strip-components=1
    mkdir -p "$tree" && (cd "$tree.new" && find . -type f -print0 | while IFS= read -r -d '' file; do
        cmp -s "$file" "../$tree/$file" || { mkdir -p "../$tree/$(dirname "$file")"; cp -p "$file" "../$tree/$file"; touch "../$tree/$file"; }
    done)
    rm -rf "$tree.new"
    commit=$(commit "$([ $tree = tree ] && echo tree || echo base)")
    cmake -S "$tree" -B "$tree/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DGGML_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES="$architectures" \
        -DGGML_CUDA_FA_QUANTS="q8_0-q8_0;q4_0-q4_0;f16-f16" -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_EXAMPLES=OFF \
        -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DGGML_CUDA_NCCL=OFF -DGIT_EXE=OFF \
        -DLLAMA_BUILD_COMMIT="$commit" >"$tree.configure.log" 2>&1 || { tail -30 "$tree.configure.log"; exit 1; }
    begin=$SECONDS
    # shellcheck disable=SC2086
    ninja -C "$tree/build" $targets >"$tree.build.log" 2>&1 || { grep -m3 -E "error|FAILED" "$tree.build.log"; exit 1; }
    echo "$tree built in $((SECONDS - begin)) s"
done
