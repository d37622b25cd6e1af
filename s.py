import http.server,ssl,sys
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(s): b=b'{"status":"ok"}'; s.send_response(200); s.send_header('Content-Type','application/json'); s.send_header('Content-Length',str(len(b))); s.end_headers(); s.wfile.write(b)
    def log_message(*a): pass
srv=http.server.ThreadingHTTPServer(('127.0.0.1',0),H)
c=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); c.load_cert_chain('c.pem','k.pem'); c.minimum_version=ssl.TLSVersion.TLSv1_3 if len(sys.argv)>1 else ssl.TLSVersion.TLSv1_2
srv.socket=c.wrap_socket(srv.socket,server_side=True); print(srv.server_address[1],flush=True); srv.serve_forever()
