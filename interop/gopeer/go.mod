module towline.dev/interop/gopeer

go 1.23

require (
	github.com/klauspost/compress v1.17.11
	lukechampine.com/blake3 v1.3.0
)

require github.com/klauspost/cpuid/v2 v2.0.9 // indirect
