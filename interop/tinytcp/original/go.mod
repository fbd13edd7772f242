module towline.dev/interop/tinytcp/original

go 1.23

require (
	github.com/mkorman9/tiny v1.0.0
	github.com/rs/zerolog v1.28.0
)

require (
	github.com/mattn/go-colorable v0.1.12 // indirect
	github.com/mattn/go-isatty v0.0.14 // indirect
	golang.org/x/sys v0.0.0-20211216021012-1d35b9e2eb4e // indirect
)
