// Command server is what the bench puts load on: net/http as most programs use it. It listens at two free ports of the
// loopback interface, plain (HTTP/1.1) and with TLS (HTTP/1.1 and HTTP/2), prints both addresses on a line and serves
// until its standard input ends.
package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

type item struct {
	ID    int      `json:"id"`
	Name  string   `json:"name"`
	Price float64  `json:"price"`
	Tags  []string `json:"tags"`
	Stock bool     `json:"stock"`
}

type order struct {
	Number int       `json:"number"`
	When   time.Time `json:"when"`
	Items  []item    `json:"items"`
}

func bytesHandler(size int) http.HandlerFunc {
	body := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	length := strconv.Itoa(len(body))
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Content-Length", length)
		w.Write(body)
	}
}

func jsonHandler(w http.ResponseWriter, r *http.Request) {
	var asked order
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	asked.Number++
	for i := range asked.Items {
		asked.Items[i].Price *= 1.1
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(asked)
}

func certificate() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		log.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func listen() net.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	return listener
}

func main() {
	folder, err := os.MkdirTemp("", "bench-server")
	if err != nil {
		log.Fatal(err)
	}
	file := filepath.Join(folder, "file.txt")
	if err := os.WriteFile(file, bytes.Repeat([]byte("0123456789abcdef"), 100*1024/16), 0o600); err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/2k", bytesHandler(2048))
	mux.HandleFunc("/100k", bytesHandler(100*1024))
	mux.HandleFunc("/json", jsonHandler)
	mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file) })

	plain, secure := listen(), listen()
	quiet := log.New(io.Discard, "", 0)
	go func() { log.Fatal((&http.Server{Handler: mux, ErrorLog: quiet}).Serve(plain)) }()
	go func() {
		server := &http.Server{
			Handler:   mux,
			ErrorLog:  quiet,
			TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate()}},
		}
		log.Fatal(server.ServeTLS(secure, "", ""))
	}()
	fmt.Println(plain.Addr(), secure.Addr())
	io.Copy(io.Discard, os.Stdin)
	os.RemoveAll(folder)
}
