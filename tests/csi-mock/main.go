// A CSI driver that others wrote, on a socket: the mock of Kubernetes' end-to-end tests, with every service that it has.
//
//	csi-mock SOCKET NODE
//
// It keeps its volumes in memory, and is strict about the order of calls. It mounts nothing: a published volume is a directory.
package main

import (
	"context"
	"log"
	"net"
	"os"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"k8s.io/kubernetes/test/e2e/storage/drivers/csi-test/mock/service"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: csi-mock SOCKET NODE")
	}
	listener, err := net.Listen("unix", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	said := func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		answer, err := handler(ctx, request)
		log.Printf("%s %v -> %v", info.FullMethod, request, err)
		return answer, err
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(said))
	mock := service.New(service.Config{DriverName: os.Args[2]})
	csi.RegisterIdentityServer(server, mock)
	csi.RegisterControllerServer(server, mock)
	csi.RegisterNodeServer(server, mock)
	log.Fatal(server.Serve(listener))
}
