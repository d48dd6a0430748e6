#!/bin/sh
# Fetch tools that tests need and pip does not have, as Debian has them: unpacked into .venv, not installed.
# Use: fetch.sh .venv libgomp redis-7 promtool kustomize java-17 chromium. What the machine has already is not fetched.
set -u
environment=$(cd "$1" && pwd)
shift

main() {
  missing=
  for tool; do
    folder=$environment/debian/$tool
    if has "$tool"; then continue; fi
    echo "Fetching $tool into $folder ..." >&2
    mkdir -p "$folder"
    fetch "$tool" && touch "$folder/done" || missing="$missing $tool"
  done
  if [ -z "$missing" ]; then return; fi
  echo "Could not fetch from Debian's packages:$missing. The tests that need them are skipped; install them to run these too." >&2
  exit 1
}

has() {
  test -e "$folder/done" || case $1 in
    kustomize) kubectl version --client 2>/dev/null | grep -q '^Kustomize Version: v[5-9]' ;;
    chromium) command -v chromium >/dev/null ;;
    libgomp) "$environment/bin/python" -c 'import ctypes; ctypes.CDLL("libgomp.so.1")' 2>/dev/null ;;
    java-17) test "$("${JAVA_HOME:+$JAVA_HOME/bin/}java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p')" -ge 17 2>/dev/null ;;
    *) false ;;
  esac
}

fetch() {
  case $1 in
    redis-7)
      unpack bookworm redis-server redis-tools libatomic1 libjemalloc2 liblua5.1-0 liblzf1 lua-bitop lua-cjson &&
        printf '#!/bin/sh\nLD_LIBRARY_PATH=$(echo %s/usr/lib/*-linux-gnu) exec %s/usr/bin/redis-server "$@"\n' \
          "$folder" "$folder" >"$environment/bin/redis-server-7" && chmod +x "$environment/bin/redis-server-7" ;;
    promtool) unpack bookworm prometheus && ln -sf "$folder/usr/bin/promtool" "$environment/bin/" ;;
    kustomize)
      { unpack trixie kustomize && ln -sf "$folder/usr/bin/kustomize" "$environment/bin/"; } ||
        GOBIN=$environment/bin go install sigs.k8s.io/kustomize/kustomize/v5@v5.6.0 ;;
    libgomp) unpack bookworm libgomp1 && load_gomp ;;
    chromium) unpack bookworm $(needs bookworm chromium fonts-dejavu-core) && run_chromium ;;
    java-17) unpack bookworm openjdk-17-jre-headless && bend_links && ln -sfn usr/lib/jvm/java-17-openjdk-* home ;;
  esac
}

# A package and all of its dependencies that this machine does not have.
needs() {
  apt=$environment/debian/apt-$1
  update "$1" && shift && get --simulate --no-install-recommends install "$@" | sed -n 's/^Inst \([^ ]*\) .*/\1/p'
}

run_chromium() {
  libraries=$(find "$folder" -name 'lib*.so*' -printf '%h\n' | sort -u | paste -sd :)
  printf '#!/bin/sh\nFONTCONFIG_PATH=%s/etc/fonts LD_LIBRARY_PATH=%s exec %s/usr/lib/chromium/chromium "$@"\n' \
    "$folder" "$libraries" "$folder" >"$environment/bin/chromium" && chmod +x "$environment/bin/chromium"
}

# Every Python of the environment loads it at its start: then it is there for the libraries that need it.
load_gomp() {
  library=$(echo "$folder"/usr/lib/*-linux-gnu/libgomp.so.1) && test -e "$library" &&
    printf 'import ctypes; ctypes.CDLL("%s")\n' "$library" >"$(echo "$environment"/lib/python3*/site-packages)/libgomp.pth"
}

# Java's settings are links into /etc, where nothing was installed.
bend_links() {
  find usr/lib/jvm -lname '/etc/java-17-openjdk/*' | while read -r each; do
    ln -sf "$folder$(readlink "$each")" "$each" || exit 1
  done
}

unpack() {
  apt=$environment/debian/apt-$1
  update "$1" && mkdir -p "$folder" && cd "$folder" && shift && get download "$@" || return 1
  for each in *.deb; do dpkg -x "$each" . && rm "$each" || return 1; done
}

# Once a release, from the mirror that this machine uses; it changes nothing of the system and needs no root.
update() {
  test -e "$apt/done" && return
  mkdir -p "$apt/lists/partial" "$apt/archives/partial"
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Component: main' | grep -m 1 '/debian/$')
  test -n "$mirror" || return 1
  echo "deb $mirror $1 main" >"$apt/sources.list"
  get update && touch "$apt/done"
}

get() {
  apt-get -qq -o "Dir::Etc::SourceList=$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$apt/lists" \
    -o "Dir::Cache=$apt" -o Acquire::Languages=none -o APT::Sandbox::User=root "$@"
}

main "$@"
