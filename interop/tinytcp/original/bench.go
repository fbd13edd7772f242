package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/mkorman9/tiny/tinytcp"
)

// What a connection of the broadcast says first, and what the one that commands says then.
const (
	control       = 'C'
	target        = 'T'
	targetStalled = 'S'
	fill          = 'F'
	broadcastSize = 1024
	idleBuffer    = 1024
	idleMax       = 4096
	echoBuffer    = 1024
)

// The broadcaster ends in a deadlock when a worker has 33 slow targets to try again. With as many workers as there
// are slow ones, and one segment for each, none has more than one for each message.
const (
	broadcastWorkers = 100
	broadcastSegment = 100
	broadcastQuantum = time.Millisecond
)

func bench(load string) error {
	switch load {
	case "echo":
		return serve(tinytcp.GoroutinePerConnection(echo))
	case "idle":
		return serve(tinytcp.GoroutinePerConnection(tinytcp.PacketFramingHandler(
			tinytcp.SplitBySeparator([]byte("\n")), idleBuffer, idleMax, echoLines,
		)))
	case "broadcast":
		var all enrolled
		all.broadcaster = tinytcp.StartBulkBroadcaster(broadcastWorkers, broadcastSegment, broadcastQuantum)
		return serve(tinytcp.GoroutinePerConnection(all.enrol))
	}
	return fmt.Errorf("no load %q", load)
}

func echo(socket *tinytcp.ClientSocket) {
	buffer := make([]byte, echoBuffer)
	for {
		n, err := socket.Read(buffer)
		if err != nil {
			return
		}
		if _, err := socket.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func echoLines(ctx tinytcp.PacketFramingContext) {
	socket := ctx.Socket()
	ctx.OnPacket(func(packet []byte) {
		tinytcp.WriteBytes(socket, append(bytes.Clone(packet), '\n'))
	})
}

type enrolled struct {
	lock         sync.Mutex
	all, stalled []*tinytcp.ClientSocket
	broadcaster  *tinytcp.BulkBroadcaster
}

func (e *enrolled) enrol(socket *tinytcp.ClientSocket) {
	role, err := tinytcp.ReadByte(socket)
	if err != nil {
		return
	}
	e.lock.Lock()
	if role != control {
		e.all = append(e.all, socket)
	}
	if role == targetStalled {
		e.stalled = append(e.stalled, socket)
	}
	e.lock.Unlock()
	if tinytcp.WriteByte(socket, role) != nil {
		return
	}
	for round := byte(1); ; {
		command, err := tinytcp.ReadByte(socket)
		if err != nil {
			return
		}
		if command == fill {
			e.fill()
			tinytcp.WriteByte(socket, command)
			continue
		}
		e.lock.Lock()
		all := e.all[:len(e.all):len(e.all)]
		e.lock.Unlock()
		e.broadcaster.Broadcast(bytes.Repeat([]byte{round}, broadcastSize), all)
		round++
	}
}

// fill writes to those who do not read until the system takes no more.
func (e *enrolled) fill() {
	e.lock.Lock()
	defer e.lock.Unlock()
	block := make([]byte, 16<<10)
	for _, socket := range e.stalled {
		raw, err := socket.Unwrap().(*net.TCPConn).SyscallConn()
		if err != nil {
			continue
		}
		raw.Write(func(fd uintptr) bool {
			for {
				_, err := syscall.Write(int(fd), block)
				if errors.Is(err, syscall.EINTR) {
					continue
				}
				if err != nil {
					return true
				}
			}
		})
	}
}
