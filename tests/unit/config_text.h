// Pieces of tailgate.conf that several tests use.
#pragma once

// Keys from the example in wg(8); PUBLIC_OWN belongs to PRIVATE.
#define PRIVATE "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="
#define PUBLIC_OWN "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw="
#define PUBLIC_A "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
#define PUBLIC_B "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0="
#define ZERO "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

#define KEY "private_key = \"" PRIVATE "\";\n"					     // line 1
#define PEER(more) KEY "peers = ( {\npublic_key = \"" PUBLIC_A "\";\n" more "} );\n" // more: line 4
#define PORTS(list) KEY "ports = (\n" list ");\n"

// A text that is refused, and what the error says of it; line 0: none.
struct refusal {
	const char *text;
	unsigned line;
	const char *key;
	const char *message;
};
