module towline.dev/interop/swp/original

go 1.23

require (
	github.com/glycerine/bchan v0.0.0-20170210221909-ad30cd867e1c
	github.com/glycerine/go-sliding-window v0.0.0-20170324222848-7d8aad3e2338
	github.com/glycerine/nats v0.0.0-20170309114841-17935ed90492
	github.com/tinylib/msgp v0.0.0-20170101023110-362bfb3384d5
	towline.dev/interop/swp/play v0.0.0
)

require (
	github.com/glycerine/blake2b v0.0.0-20151022103502-3c8c640cd7be // indirect
	github.com/glycerine/cryrand v0.0.0-20170319162230-65c4af4fca8b // indirect
	github.com/glycerine/hnatsd v0.0.0-00010101000000-000000000000 // indirect
	github.com/glycerine/idem v0.0.0-20170205063555-644ded952788 // indirect
	github.com/glycerine/nuid v0.0.0-20160927044945-289cccf02c17 // indirect
	github.com/glycerine/rbtree v0.0.0-20131204012554-cd7940bb26b1 // indirect
	github.com/philhofer/fwd v0.0.0-20160129035939-98c11a7a6ec8 // indirect
)

// The broker which the original can start within its own process is not used here.
replace github.com/glycerine/hnatsd => ./hnatsd

replace towline.dev/interop/swp/play => ../play
