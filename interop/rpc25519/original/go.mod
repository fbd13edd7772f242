module towline.dev/interop/rpc25519/original

go 1.23.3

require github.com/glycerine/rpc25519 v1.6.8

require (
	4d63.com/tz v1.2.0 // indirect
	github.com/cloudflare/circl v1.5.0 // indirect
	github.com/cristalhq/base64 v0.1.2 // indirect
	github.com/glycerine/base58 v0.24.2 // indirect
	github.com/glycerine/fwd v1.1.4-beta.jea // indirect
	github.com/glycerine/greenpack v0.517.0 // indirect
	github.com/glycerine/idem v0.0.0-20240925232718-fc20a7f9bca6 // indirect
	github.com/glycerine/ipaddr v0.2.4 // indirect
	github.com/glycerine/loquet v0.0.19 // indirect
	github.com/goccy/go-json v0.10.3 // indirect
	github.com/klauspost/compress v1.17.11 // indirect
	github.com/klauspost/cpuid/v2 v2.0.9 // indirect
	github.com/pierrec/lz4/v4 v4.1.22 // indirect
	github.com/quic-go/quic-go v0.48.2 // indirect
	golang.org/x/crypto v0.31.0 // indirect
	golang.org/x/exp v0.0.0-20240506185415-9bf2ced13842 // indirect
	golang.org/x/net v0.33.0 // indirect
	golang.org/x/sys v0.28.0 // indirect
	golang.org/x/term v0.27.0 // indirect
	lukechampine.com/blake3 v1.3.0 // indirect
)

