// The original, rpc25519 v1.6.8, as a program: its server, its client and its calls, with nothing of ours on the wire.
//
//	rpc25519 serve LINK CERTS PSK COMPRESSION PART        answers until its input ends; a line says where
//	rpc25519 client LINK CERTS PSK COMPRESSION PART ADDR  plays the part and says "ok"
//
// LINK is tcp, tls, quic or connect, PSK a key file or "-", COMPRESSION none or the original's name of an algorithm.
// PART is small, large or idle=DURATION; what is played is in client.go, what is answered in server.go. The example
// rpc_peer of towline plays and answers the same. A client's PART bench=TASK measures (bench.go), for towline's bench/.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/glycerine/rpc25519"
)

// Keep-alives are sent after so long a silence, in the part that is about silence. In others a server's would be written
// into the middle of an answer: it has two writers without a lock (docs/wire F26).
const keepAlive = 300 * time.Millisecond

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 6 && args[0] == "serve" {
		return serve(config(args[1:6]))
	}
	if len(args) == 7 && args[0] == "client" {
		if task, is := strings.CutPrefix(args[5], "bench="); is {
			return benchmark(args, task)
		}
		cfg := config(args[1:6])
		cfg.ClientDialToHostPort = args[6]
		if err := client(cfg, args[5]); err != nil {
			return err
		}
		fmt.Println("ok")
		return nil
	}
	return errors.New("rpc25519 serve|client LINK CERTS PSK COMPRESSION PART [ADDR]")
}

func config(args []string) *rpc25519.Config {
	cfg := rpc25519.NewConfig()
	cfg.ServerAddr = "127.0.0.1:0"
	cfg.TCPonly_no_TLS = args[0] == "tcp" || args[0] == "connect"
	cfg.HTTPConnectRequired = args[0] == "connect"
	cfg.UseQUIC = args[0] == "quic"
	cfg.CertPath = args[1]
	if args[2] != "-" {
		cfg.PreSharedKeyPath = args[2]
	}
	cfg.CompressionOff = args[3] == "none"
	if !cfg.CompressionOff {
		cfg.CompressAlgo = args[3]
	}
	if strings.HasPrefix(args[4], "idle=") {
		cfg.ServerSendKeepAlive = keepAlive
		cfg.ClientSendKeepAlive = keepAlive
	}
	return cfg
}

func serve(cfg *rpc25519.Config) error {
	server := rpc25519.NewServer("node", cfg)
	register(server)
	address, err := server.Start()
	if err != nil {
		return err
	}
	fmt.Printf("listening %v\n", address)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// text is what compresses well; noise is what does not.
func text(size int) []byte {
	bytes := make([]byte, size)
	const words = "what goes over the wire is the same in both directions. "
	for at := 0; at < size; at += copy(bytes[at:], words) {
	}
	return bytes
}

func noise(size int) []byte {
	bytes := make([]byte, size)
	state := uint64(size)
	for at := range bytes {
		if at%8 == 0 {
			state ^= state << 13
			state ^= state >> 7
			state ^= state << 17
		}
		bytes[at] = byte(state >> (8 * (at % 8)))
	}
	return bytes
}

// sum is FNV-1a of 64 bits, over words of eight bytes, and then over what is left.
func sum(bytes []byte) string {
	const prime = 0x100000001b3
	hash := uint64(0xcbf29ce484222325)
	size := len(bytes)
	for len(bytes) >= 8 {
		word := uint64(0)
		for at := 7; at >= 0; at-- {
			word = word<<8 | uint64(bytes[at])
		}
		hash = (hash ^ word) * prime
		bytes = bytes[8:]
	}
	for _, one := range bytes {
		hash = (hash ^ uint64(one)) * prime
	}
	return fmt.Sprintf("%d %016x", size, hash)
}
