# SPDX-License-Identifier: GPL-2.0-only
# Nobody listens: the packet is answered by another, so each connection makes two that are sent and two that
# are received.
tracing=/sys/kernel/tracing

setup() {
	stock vsock_loopback
	[ -d $tracing/events ] || mount -t tracefs tracefs $tracing
	for event in alloc recv; do
		echo 1 >$tracing/events/vsock/virtio_transport_${event}_pkt/enable
	done
}

traced() { grep -c " virtio_transport_$1_pkt:" $tracing/trace; }
packets() { dmesg | grep -c 'kpatch: packet from 1$'; }

# knock RECEIVED: so many packets are seen as they are received, all as they are sent.
knock() {
	echo >$tracing/trace
	is "Connection reset by peer" connect
	is 2 traced alloc
	is "$1" traced recv
}

before() {
	said=$(packets)
	knock 2
	is "$said" packets
}

loaded() {
	said=$(packets)
	knock 0
	is $((said + 2)) packets
}
