#!/bin/sh
# Kubernetes of Go's module proxy, etcd, containerd and the CNI plugins of Debian: into the folder $1,
# once. 15 to 20 minutes on two cores that have nothing else to do; nothing is installed.
set -eu
KUBERNETES=1.36.3
COREDNS=1.15.0
METRICS_SERVER=0.9.0
into=$1
mkdir -p "$into/bin" "$into/debian"

debian() {
    cd "$into/debian"
    apt-get update -qq
    apt-get download -qq -o APT::Sandbox::User=root etcd-server containerd containernetworking-plugins
    for each in *.deb; do dpkg -x "$each" .; done
    rm ./*.deb
    ln -sf "$PWD/usr/bin/"* "$into/bin"
}

build() { # build PACKAGE: with the go.mod that is there
    go build -mod=mod -trimpath -ldflags="-s -w -X k8s.io/component-base/version.gitVersion=v$KUBERNETES" \
        -o "$into/bin/" "$1"
}

# Its own go.mod points at a folder that is not published: each of those modules has a version of its own.
kubernetes() {
    published=$(go mod download -json "k8s.io/kubernetes@v$KUBERNETES" | sed -n 's/.*"GoMod": "\(.*\)".*/\1/p')
    {
        echo "module larder.test/kubernetes"
        grep -E '^(go|godebug) ' "$published"
        echo "require k8s.io/kubernetes v$KUBERNETES"
        sed -n "s,^.*\(k8s.io/[a-z0-9-]*\) => ./staging/.*,replace \1 => \1 v0.${KUBERNETES#*.},p" "$published"
    } >go.mod
    for each in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl; do
        build "k8s.io/kubernetes/cmd/$each"
    done
}

# With three of its plugins: all of them would take as long as the API server.
coredns() {
    printf 'module larder.test/coredns\nrequire github.com/coredns/coredns v%s\n' "$COREDNS" >go.mod
    cat >main.go <<EOF
package main

import (
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
)

func main() { coremain.Run() }
EOF
    build .
}

metrics_server() {
    printf 'module larder.test/metrics\nrequire sigs.k8s.io/metrics-server v%s\n' "$METRICS_SERVER" >go.mod
    build sigs.k8s.io/metrics-server/cmd/metrics-server
}

for part in ${2:-debian kubernetes coredns metrics_server}; do
    [ ! -e "$into/$part.done" ] || continue
    echo "building: $part ..."
    mkdir -p "$into/source/$part"
    cd "$into/source/$part"
    $part
    touch "$into/$part.done"
done
