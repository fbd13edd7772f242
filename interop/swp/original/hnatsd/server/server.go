// Package server stands in for the broker that the original can start within its own process, which nothing here does.
package server

// Options of such a broker.
type Options struct {
	Host, HTTPHost string
	Port, HTTPPort int
	Trace, Debug   bool
}

// Server is such a broker.
type Server struct{}

// Shutdown does nothing.
func (*Server) Shutdown() {}
