// HTTP/3 with quic-go: `http3 get URL...` asks for all of them at once over one QUIC connection and tells what came;
// `http3 self` serves to itself at a port of the host's choice.
package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/quic-go/quic-go/http3"
)

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

// fetch asks for all URLs at once and tells the answers in the order of the URLs. Certificates are not looked at.
func fetch(urls []string, body []byte) {
	transport := &http3.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"}}
	defer transport.Close()
	client := &http.Client{Transport: transport, Timeout: time.Minute}
	told := make([]string, len(urls))
	var all sync.WaitGroup
	for i, url := range urls {
		all.Add(1)
		go func() {
			defer all.Done()
			method := http.MethodGet
			if body != nil {
				method = http.MethodPost
			}
			request := must(http.NewRequest(method, url, bytes.NewReader(body)))
			response := must(client.Do(request))
			defer response.Body.Close()
			got := must(io.ReadAll(response.Body))
			path := request.URL.Path
			told[i] = fmt.Sprintf("%s %s: %d, %d bytes, %x", response.Proto, path, response.StatusCode, len(got), sha256.Sum256(got))
		}()
	}
	all.Wait()
	fmt.Println(strings.Join(told, "\n"))
}

func certificate() tls.Certificate {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	return tls.Certificate{Certificate: [][]byte{must(x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key))}, PrivateKey: key}
}

func self() {
	socket := must(net.ListenPacket("udp", "127.0.0.1:0"))
	mux := http.NewServeMux()
	mux.HandleFunc("/large", func(w http.ResponseWriter, r *http.Request) {
		w.Write(bytes.Repeat([]byte("a line of a large answer\n"), 40_000))
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	server := &http3.Server{Handler: mux, TLSConfig: http3.ConfigureTLSConfig(&tls.Config{Certificates: []tls.Certificate{certificate()}})}
	go server.Serve(socket)
	origin := "https://" + socket.LocalAddr().String()
	fetch([]string{origin + "/large", origin + "/none"}, nil)
	echoes := make([]string, 50)
	for i := range echoes {
		echoes[i] = origin + "/echo"
	}
	fetch(echoes, bytes.Repeat([]byte("echo"), 5_000))
	must(0, server.Close())
}

func main() {
	log.SetFlags(0)
	if len(os.Args) > 2 && os.Args[1] == "get" {
		fetch(os.Args[2:], nil)
	} else if len(os.Args) == 2 && os.Args[1] == "self" {
		self()
	} else {
		log.Fatal("usage: http3 get URL... | http3 self")
	}
}
