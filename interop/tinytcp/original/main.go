// The original, tinytcp as of github.com/mkorman9/tiny v1.0.0, as a program: its server, its client, its values and
// its framings, with nothing of ours on the wire.
//
//	tinytcp serve plain|tls12|tls13 DIR          answers until its input ends; the first line says where
//	tinytcp client plain|tls12|tls13 DIR ADDR    makes every exchange once and says "ok"
//	tinytcp bench echo|idle|broadcast            serves a load of bench/ until its input ends
//
// DIR has node.crt and node.key to serve by, and ca.crt to be judged by. The first byte of a connection is P
// for values or the kind of a framing; everything after it is sent back value by value, packet by packet.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/mkorman9/tiny/tinytcp"
	"github.com/rs/zerolog"
)

func main() {
	// It logs every connection that ends.
	zerolog.SetGlobalLevel(zerolog.Disabled)
	if err := run(os.Args[1:]); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 3 && args[0] == "serve":
		options, err := serverTLS(args[1], args[2])
		if err != nil {
			return err
		}
		return serve(tinytcp.GoroutinePerConnection(answer), options...)
	case len(args) == 4 && args[0] == "client":
		return client(args[1], args[2], args[3])
	case len(args) == 2 && args[0] == "bench":
		return bench(args[1])
	}
	return errors.New("tinytcp serve|client plain|tls12|tls13 DIR [ADDR], tinytcp bench echo|idle|broadcast")
}

func versions(mode string) *tls.Config {
	version := uint16(tls.VersionTLS13)
	if mode == "tls12" {
		version = tls.VersionTLS12
	}
	return &tls.Config{MinVersion: version, MaxVersion: version}
}

func serverTLS(mode, dir string) ([]tinytcp.ServerOpt, error) {
	if mode == "plain" {
		return nil, nil
	}
	cert, key := filepath.Join(dir, "node.crt"), filepath.Join(dir, "node.key")
	// Where one of them is missing it would serve in the clear.
	if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
		return nil, err
	}
	return []tinytcp.ServerOpt{tinytcp.TLS(cert, key, versions(mode))}, nil
}

// serve runs a server until the input ends. The original does not tell the port it was given, so one that was free
// a moment ago is asked for.
func serve(strategy tinytcp.ForkingStrategy, options ...tinytcp.ServerOpt) error {
	ended := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	var err error
	for range 10 {
		var address string
		if address, err = freeAddress(); err != nil {
			return err
		}
		server := tinytcp.NewServer(append(options, tinytcp.Address(address))...)
		server.ForkingStrategy(strategy)
		failed := make(chan error, 1)
		go func() { failed <- server.Start() }()
		if err = untilServed(address, failed); err != nil {
			continue
		}
		fmt.Println(address)
		select {
		case <-ended:
			server.Stop()
			return nil
		case err = <-failed:
			return err
		}
	}
	return err
}

func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}

func untilServed(address string, failed <-chan error) error {
	for {
		select {
		case err := <-failed:
			return err
		default:
		}
		conn, err := net.Dial("tcp", address)
		if err == nil {
			return conn.Close()
		}
		time.Sleep(time.Millisecond)
	}
}

func client(mode, dir, address string) error {
	for _, kind := range []byte("P" + kinds) {
		if err := exchange(mode, dir, address, kind); err != nil {
			return fmt.Errorf("%c: %w", kind, err)
		}
	}
	fmt.Println("ok")
	return nil
}

func dial(mode, dir, address string) (*tinytcp.Client, error) {
	if mode == "plain" {
		return tinytcp.Dial(address)
	}
	pem, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		return nil, err
	}
	config := versions(mode)
	config.ServerName = "localhost"
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, errors.New("no authority in ca.crt")
	}
	return tinytcp.DialTLS(address, config)
}

func exchange(mode, dir, address string, kind byte) error {
	conn, err := dial(mode, dir, address)
	if err != nil {
		return err
	}
	defer conn.Close()
	sent := make(chan error, 1)
	go func() { sent <- send(conn, kind) }()
	if kind == 'P' {
		for _, want := range samples {
			got, err := readValues(conn)
			if err != nil {
				return err
			}
			if !got.same(want) {
				return fmt.Errorf("%v came back as %v", want, got)
			}
		}
		return <-sent
	}
	reader := newPacketReader(conn, kind)
	for _, want := range packets {
		got, err := reader.next()
		if err != nil {
			return err
		}
		if string(got) != string(want) {
			return fmt.Errorf("a packet of %d bytes came back with %d", len(want), len(got))
		}
	}
	return <-sent
}

// send sends everything, without waiting for what comes back.
func send(w io.Writer, kind byte) error {
	if err := tinytcp.WriteByte(w, kind); err != nil {
		return err
	}
	if kind == 'P' {
		for _, v := range samples {
			if err := v.write(w); err != nil {
				return err
			}
		}
		return nil
	}
	for _, packet := range packets {
		if err := writePacket(w, kind, packet); err != nil {
			return err
		}
	}
	return nil
}

// answer serves one connection.
func answer(socket *tinytcp.ClientSocket) {
	kind, err := tinytcp.ReadByte(socket)
	switch {
	case err != nil:
		return
	case kind == 'S':
		// The only framing that its own handler survives (see writePacket for the others).
		handler := tinytcp.PacketFramingHandler(protocol(kind), 4096, 1<<17, func(ctx tinytcp.PacketFramingContext) {
			ctx.OnPacket(func(packet []byte) { writePacket(socket, kind, packet) })
		})
		handler(socket)
		return
	case kind == 'P':
		for err == nil {
			var v values
			if v, err = readValues(socket); err == nil {
				err = v.write(socket)
			}
		}
		return
	}
	reader := newPacketReader(socket, kind)
	for err == nil {
		var packet []byte
		if packet, err = reader.next(); err == nil {
			err = writePacket(socket, kind, packet)
		}
	}
}
