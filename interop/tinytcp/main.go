// A peer that speaks tinytcp's values and framings, written from their description: the original is not used.
//
//	tinytcp serve plain|tls12|tls13 DIR          answers until it is killed; the first line says where
//	tinytcp client plain|tls12|tls13 DIR ADDR    makes every exchange once and says "ok"
//
// DIR has node.crt and node.key to serve by, and ca.crt to be judged by. The first byte of a connection is P
// for values or the kind of a framing; everything after it is sent back value by value, packet by packet.
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 3 && args[0] == "serve":
		return serve(args[1], args[2])
	case len(args) == 4 && args[0] == "client":
		return client(args[1], args[2], args[3])
	}
	return fmt.Errorf("tinytcp serve|client plain|tls12|tls13 DIR [ADDR]")
}

func versions(mode string) *tls.Config {
	version := uint16(tls.VersionTLS13)
	if mode == "tls12" {
		version = tls.VersionTLS12
	}
	return &tls.Config{MinVersion: version, MaxVersion: version}
}

func serve(mode, dir string) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if mode != "plain" {
		pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "node.crt"), filepath.Join(dir, "node.key"))
		if err != nil {
			return err
		}
		config := versions(mode)
		config.Certificates = []tls.Certificate{pair}
		defer listener.Close()
		fmt.Println(listener.Addr())
		return accept(tls.NewListener(listener, config))
	}
	fmt.Println(listener.Addr())
	return accept(listener)
}

func accept(listener net.Listener) error {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			answer(conn)
		}()
	}
}

func answer(conn net.Conn) error {
	r := bufio.NewReader(conn)
	kind, err := r.ReadByte()
	for err == nil {
		var back []byte
		if kind == 'P' {
			var v values
			v, err = decode(r)
			back = v.encode()
		} else {
			var packet []byte
			packet, err = readPacket(r, kind)
			back = encodePacket(kind, packet)
		}
		if err == nil {
			_, err = conn.Write(back)
		}
	}
	return err
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

func dial(mode, dir, address string) (net.Conn, error) {
	if mode == "plain" {
		return net.Dial("tcp", address)
	}
	pem, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		return nil, err
	}
	config := versions(mode)
	config.ServerName = "localhost"
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no authority in ca.crt")
	}
	return tls.Dial("tcp", address, config)
}

func exchange(mode, dir, address string, kind byte) error {
	conn, err := dial(mode, dir, address)
	if err != nil {
		return err
	}
	defer conn.Close()
	var all []byte
	if kind == 'P' {
		for _, v := range samples {
			all = append(all, v.encode()...)
		}
	} else {
		for _, packet := range packets {
			all = append(all, encodePacket(kind, packet)...)
		}
	}
	// In pieces, so that values and packets come in several reads.
	go func() {
		conn.Write([]byte{kind})
		for len(all) > 0 {
			n := min(len(all), 1+len(all)%977)
			if _, err := conn.Write(all[:n]); err != nil {
				return
			}
			all = all[n:]
		}
	}()
	r := bufio.NewReader(conn)
	if kind == 'P' {
		for _, want := range samples {
			got, err := decode(r)
			if err != nil {
				return err
			}
			if !bytes.Equal(got.encode(), want.encode()) {
				return fmt.Errorf("%v came back as %v", want, got)
			}
		}
		return nil
	}
	for _, want := range packets {
		got, err := readPacket(r, kind)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, want) {
			return fmt.Errorf("a packet of %d bytes came back with %d", len(want), len(got))
		}
	}
	return nil
}
