module github.com/glycerine/hnatsd

go 1.23
