package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"
)

// handshakeLimit bounds dialling and the handshake (I23).
const handshakeLimit = 20 * time.Second

// credentials reads ca.crt, NAME.crt and NAME.key of a directory (I1) for either role.
func credentials(dir, name string) (*tls.Config, error) {
	authority, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authority) {
		return nil, fmt.Errorf("%s holds no certificate", filepath.Join(dir, "ca.crt"))
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key"))
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{pair},
		// The client's side: the name is localhost, whatever host was dialled (I19).
		RootCAs:    pool,
		ServerName: "localhost",
		// The server's side: it requires a certificate (I20).
		ClientCAs:              pool,
		ClientAuth:             tls.RequireAndVerifyClientCert,
		SessionTicketsDisabled: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			if state.PeerCertificates[0].PublicKeyAlgorithm != x509.Ed25519 {
				return errors.New("the peer's key is not Ed25519") // I13
			}
			return nil
		},
	}, nil
}

// dial connects, over TLS unless config is nil.
func dial(address string, config *tls.Config) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: handshakeLimit}
	if config == nil {
		return dialer.Dial("tcp", address)
	}
	return tls.DialWithDialer(dialer, "tcp", address, config)
}
