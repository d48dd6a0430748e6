#!/bin/sh
# The control plane and two nodes of a Kubernetes cluster on one machine. Runs inside namespaces of
# its own (mounts, network, processes), so all that it makes goes with its first process.
#
#   machine.sh network | control-plane | node NUMBER | services
#
# RUN: a folder of this run; BIN: what was built. Addresses: 10.203.0.1 is the machine, 10.203.0.11
# and .12 are the nodes, 10.204.NUMBER.0/24 their pods, 10.96.0.0/16 Services.
set -eu

network() {
    mount -t tmpfs run /run
    mkdir /run/netns
    ip link set lo up
    ip link add larder0 type bridge
    ip address add 10.203.0.1/24 dev larder0
    ip link set larder0 up
    echo 1 >/proc/sys/net/ipv4/ip_forward
    for number in 1 2; do
        name=node-$number
        ip netns add $name
        ip link add $name type veth peer name eth0 netns $name
        ip link set $name master larder0 up
        ip -n $name link set lo up
        ip -n $name address add 10.203.0.1$number/24 dev eth0
        ip -n $name link set eth0 up
        ip -n $name route add default via 10.203.0.1
        ip route add 10.204.$number.0/24 via 10.203.0.1$number
        nsenter --net=/run/netns/$name sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
    done
}

certificate() { # certificate NAME SUBJECT [ALTERNATIVE NAMES]
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$2" -keyout "$1.key" -out "$1.csr" 2>/dev/null
    printf 'subjectAltName=%s\n' "${3:-DNS:$1}" >"$1.ext"
    openssl x509 -req -days 2 -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -extfile "$1.ext" -out "$1.crt" 2>/dev/null
}

certificates() {
    openssl req -x509 -days 2 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=larder-test \
        -keyout ca.key -out ca.crt 2>/dev/null
    openssl genrsa -out accounts.key 2048 2>/dev/null
    certificate server /CN=kube-apiserver \
        DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:localhost,IP:127.0.0.1,IP:10.203.0.1,IP:10.96.0.1
    certificate admin /O=system:masters/CN=admin
    certificate aggregator /CN=aggregator
    cat >kubeconfig <<EOF
apiVersion: v1
kind: Config
clusters: [{name: larder-test, cluster: {server: "https://10.203.0.1:6443", certificate-authority: $RUN/ca.crt}}]
users: [{name: admin, user: {client-certificate: $RUN/admin.crt, client-key: $RUN/admin.key}}]
contexts: [{name: larder-test, context: {cluster: larder-test, user: admin}}]
current-context: larder-test
EOF
}

start() { # start PROGRAM [ARGUMENT ...]: in the background, with a log
    program=$1
    shift
    "$program" "$@" >"$RUN/logs/$program${number:+-$number}" 2>&1 &
}

control_plane() {
    certificates
    cat >audit.yaml <<EOF
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - {level: Metadata, users: ["system:serviceaccount:larder:larder-refresh"]}
  - {level: None}
EOF
    start etcd --data-dir=/run/etcd
    start kube-apiserver --etcd-servers=http://127.0.0.1:2379 --advertise-address=10.203.0.1 \
        --service-cluster-ip-range=10.96.0.0/16 --authorization-mode=RBAC --kubelet-preferred-address-types=InternalIP \
        --client-ca-file=ca.crt --tls-cert-file=server.crt --tls-private-key-file=server.key \
        --service-account-issuer=https://kubernetes.default.svc \
        --service-account-key-file=accounts.key --service-account-signing-key-file=accounts.key \
        --requestheader-client-ca-file=ca.crt --requestheader-allowed-names=aggregator \
        --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
        --requestheader-extra-headers-prefix=X-Remote-Extra- --enable-aggregator-routing=true \
        --proxy-client-cert-file=aggregator.crt --proxy-client-key-file=aggregator.key \
        --audit-policy-file=audit.yaml --audit-log-path="$RUN/audit.log"
    until kubectl get --raw /readyz >/dev/null 2>&1; do sleep 1; done
    start kube-controller-manager --kubeconfig=kubeconfig --leader-elect=false \
        --use-service-account-credentials --service-account-private-key-file=accounts.key --root-ca-file=ca.crt
    start kube-scheduler --kubeconfig=kubeconfig --leader-elect=false
}

# Each node has the usual paths to itself: they are bound to folders of its own.
node() {
    number=$1
    own=$RUN/node-$number
    for path in /var/lib /var/log; do
        mkdir -p "$own$path"
        mount --bind "$own$path" $path
    done
    mount -t tmpfs run /run
    mount --make-rshared /
    echo 'nameserver 10.203.0.1' >"$own/resolv.conf"
    mkdir "$own/cni"
    cat >"$own/cni/larder.conflist" <<EOF
{"cniVersion": "0.4.0", "name": "larder", "plugins": [
  {"type": "ptp", "ipam": {"type": "host-local", "subnet": "10.204.$number.0/24", "routes": [{"dst": "0.0.0.0/0"}]}}]}
EOF
    cat >"$own/containerd.toml" <<EOF
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/larder/pause:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$BIN/../debian/usr/lib/cni"
    conf_dir = "$own/cni"
EOF
    cat >"$own/kubelet.yaml" <<EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cgroupRoot: $CGROUP/node-$number
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
# The disk is the machine's, whose fullness is not for its nodes to mend: by default 15 % must be free.
evictionHard: {memory.available: 100Mi, nodefs.available: 2Gi, imagefs.available: 2Gi}
imageGCHighThresholdPercent: 100
failCgroupV1: false
failSwapOn: false
resolvConf: $own/resolv.conf
syncFrequency: 10s
EOF
    cat >"$own/kube-proxy.yaml" <<EOF
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $RUN/kubeconfig}
clusterCIDR: 10.204.0.0/16
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
hostnameOverride: node-$number
mode: iptables
EOF
    start containerd --config "$own/containerd.toml"
    until ctr version >/dev/null 2>&1; do sleep 1; done
    ctr --namespace k8s.io images import "$IMAGES" >"$RUN/logs/images-$number" 2>&1
    start kubelet --config="$own/kubelet.yaml" --kubeconfig="$RUN/kubeconfig" \
        --hostname-override=node-$number --node-ip=10.203.0.1$number
    start kube-proxy --config="$own/kube-proxy.yaml"
    wait
}

# What a cluster has besides: names, figures of pods, volumes. Their programs run on the machine.
services() {
    cat >Corefile <<EOF
.:53 {
    bind 10.203.0.1
    errors
    kubernetes cluster.local in-addr.arpa {
        kubeconfig $RUN/kubeconfig
    }
}
EOF
    start coredns -conf Corefile
    start metrics-server --kubeconfig=kubeconfig --authentication-kubeconfig=kubeconfig \
        --authorization-kubeconfig=kubeconfig --cert-dir=/run/metrics-server --secure-port=4443 \
        --kubelet-insecure-tls --kubelet-preferred-address-types=InternalIP --metric-resolution=15s
    {
        service kube-dns 10.96.0.10 53 53 UDP
        service metrics-server 10.96.0.11 443 4443 TCP
        cat <<EOF
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.metrics.k8s.io}
spec:
  service: {name: metrics-server, namespace: kube-system}
  group: metrics.k8s.io
  version: v1beta1
  insecureSkipTLSVerify: true
  groupPriorityMinimum: 100
  versionPriority: 100
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: shared, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
EOF
        for each in $(seq 24); do volume "$each"; done
    } | kubectl apply -f - >/dev/null
}

service() { # service NAME ADDRESS PORT TARGET PROTOCOL: of a program on the machine
    cat <<EOF
---
apiVersion: v1
kind: Service
metadata: {name: $1, namespace: kube-system}
spec: {clusterIP: $2, ports: [{name: main, port: $3, targetPort: $4, protocol: $5}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: $1, namespace: kube-system, labels: {kubernetes.io/service-name: $1}}
addressType: IPv4
endpoints: [{addresses: [10.203.0.1]}]
ports: [{name: main, port: $4, protocol: $5}]
EOF
}

volume() { # volume NUMBER: one that both nodes can mount, as a cloud's
    mkdir -p "$RUN/volumes/$1"
    cat <<EOF
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: volume-$1}
spec:
  accessModes: [ReadWriteOnce]
  capacity: {storage: 10Gi}
  storageClassName: shared
  local: {path: $RUN/volumes/$1}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/os, operator: Exists}]}]}}
EOF
}

cd "$RUN"
case $1 in
network) network ;;
control-plane) control_plane ;;
node) node "$2" ;;
services) services ;;
esac
