// Command ferretdb is FerretDB as it is embedded, on a port of 127.0.0.1 and over SQLite files or Postgres:
//
//	ferretdb PORT sqlite file:FOLDER/
//	ferretdb PORT postgresql postgres://…
package main

import (
	"context"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/FerretDB/FerretDB/ferretdb"
)

func main() {
	if len(os.Args) != 4 {
		log.Fatal("PORT, sqlite or postgresql, and a URL are needed")
	}
	server, err := ferretdb.New(&ferretdb.Config{
		Listener:      ferretdb.ListenerConfig{TCP: "127.0.0.1:" + os.Args[1]},
		Logger:        slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
		Handler:       os.Args[2],
		SQLiteURL:     os.Args[3],
		PostgreSQLURL: os.Args[3],
	})
	if err != nil {
		log.Fatal(err)
	}
	until, end := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer end()
	if err := server.Run(until); err != nil {
		log.Fatal(err)
	}
}
