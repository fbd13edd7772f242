module towline.example/interop/rpc25519

go 1.23

require github.com/glycerine/rpc25519 v1.6.8
