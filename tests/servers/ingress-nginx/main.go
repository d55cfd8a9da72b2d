// Writes the configuration that ingress-nginx makes of an Ingress: with its own parser of annotations, its own functions and
// its own template, without a cluster. It is built inside a copy of the module, because the packages are internal
// (`go_inside` in tests/toolchains.py).
//
//	program MANIFESTS.yaml nginx.tmpl PORT
//
// The manifests are the Ingress, and behind it the ConfigMap `proxy-set-headers` of the controller. Every path of the Ingress's
// first rule becomes a location of the rule's server.
package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"

	"k8s.io/ingress-nginx/internal/ingress/annotations"
	"k8s.io/ingress-nginx/internal/ingress/annotations/parser"
	"k8s.io/ingress-nginx/internal/ingress/controller/config"
	"k8s.io/ingress-nginx/internal/ingress/controller/template"
	"k8s.io/ingress-nginx/internal/ingress/defaults"
	"k8s.io/ingress-nginx/internal/ingress/resolver"
	"k8s.io/ingress-nginx/pkg/apis/ingress"
)

// What annotations do not say comes from the defaults of the controller.
type controller struct {
	resolver.Mock
	backend defaults.Backend
}

func (c controller) GetDefaultBackend() defaults.Backend { return c.backend }

func main() {
	if err := render(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func render(file, templateFile, port string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	listen, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	var rule networking.Ingress
	var headers core.ConfigMap
	manifests := strings.Split(string(text), "\n---\n")
	if len(manifests) != 2 {
		return fmt.Errorf("%d manifests in place of an Ingress and a ConfigMap", len(manifests))
	}
	if err := yaml.UnmarshalStrict([]byte(manifests[0]), &rule); err != nil {
		return err
	}
	if err := yaml.UnmarshalStrict([]byte(manifests[1]), &headers); err != nil {
		return err
	}
	parser.AnnotationsPrefix = parser.DefaultAnnotationsPrefix
	cfg := config.NewDefault()
	cfg.DefaultSSLCertificate = &ingress.SSLCert{}
	found, err := annotations.NewAnnotationExtractor(controller{backend: cfg.Backend}).Extract(&rule)
	if err != nil {
		return err
	}
	if found.Denied != nil {
		return fmt.Errorf("ingress-nginx denies every request: %s", *found.Denied)
	}
	server := &ingress.Server{Hostname: rule.Spec.Rules[0].Host}
	for _, path := range rule.Spec.Rules[0].HTTP.Paths {
		server.Locations = append(server.Locations, &ingress.Location{
			Path: path.Path, PathType: path.PathType, IngressPath: path.Path,
			Ingress: &ingress.Ingress{Ingress: rule, ParsedAnnotations: found},
			Backend: "service", Logs: found.Logs, Proxy: found.Proxy, ExternalAuth: found.ExternalAuth,
			ClientBodyBufferSize: found.ClientBodyBufferSize, Connection: found.Connection, Rewrite: found.Rewrite,
			CorsConfig: found.CorsConfig, BackendProtocol: found.BackendProtocol, EnableGlobalAuth: found.EnableGlobalAuth,
			ConfigurationSnippet: found.ConfigurationSnippet, CustomHeaders: found.CustomHeaders,
			Allowlist: found.Allowlist, Denylist: found.Denylist, Satisfy: found.Satisfy,
		})
	}
	made, err := template.NewTemplate(templateFile)
	if err != nil {
		return err
	}
	whole, err := made.Write(&config.TemplateConfig{
		ProxySetHeaders: headers.Data,
		Servers: []*ingress.Server{server}, Backends: []*ingress.Backend{{Name: "service"}}, Cfg: cfg, BacklogSize: 511,
		ListenPorts: &config.ListenPorts{HTTP: listen, HTTPS: 0, Default: 0}, HealthzURI: "/healthz",
		PID: "nginx.pid", StatusPath: "/nginx_status", MaxmindEditionFiles: &[]string{},
	})
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(whole)
	return err
}
