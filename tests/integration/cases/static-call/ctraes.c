// SPDX-License-Identifier: GPL-2.0-only
/* Encrypts two blocks by AES-128 in counter mode, by the driver of aesni_intel, and prints them. */
#include <linux/if_alg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const unsigned char key[16] = {
	0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6,
	0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c,
};
static const unsigned char plain[32] = {
	0x6b, 0xc1, 0xbe, 0xe2, 0x2e, 0x40, 0x9f, 0x96,
	0xe9, 0x3d, 0x7e, 0x11, 0x73, 0x93, 0x17, 0x2a,
	0xae, 0x2d, 0x8a, 0x57, 0x1e, 0x03, 0xac, 0x9c,
	0x9e, 0xb7, 0x6f, 0xac, 0x45, 0xaf, 0x8e, 0x51,
};

int main(void)
{
	struct sockaddr_alg address = {
		.salg_family = AF_ALG,
		.salg_type = "skcipher",
		.salg_name = "ctr-aes-aesni",
	};
	char control[CMSG_SPACE(4) + CMSG_SPACE(sizeof(struct af_alg_iv) + 16)];
	struct iovec data = { .iov_base = (void *)plain, .iov_len = sizeof(plain) };
	struct msghdr message = {
		.msg_control = control,
		.msg_controllen = sizeof(control),
		.msg_iov = &data,
		.msg_iovlen = 1,
	};
	unsigned char out[32];
	struct cmsghdr *part;
	struct af_alg_iv *iv;
	int algorithm, operation, i;

	algorithm = socket(AF_ALG, SOCK_SEQPACKET, 0);
	if (bind(algorithm, (struct sockaddr *)&address, sizeof(address)) ||
	    setsockopt(algorithm, SOL_ALG, ALG_SET_KEY, key, sizeof(key))) {
		perror("ctr-aes-aesni");
		return 1;
	}
	operation = accept(algorithm, NULL, 0);
	memset(control, 0, sizeof(control));
	part = CMSG_FIRSTHDR(&message);
	part->cmsg_level = SOL_ALG;
	part->cmsg_type = ALG_SET_OP;
	part->cmsg_len = CMSG_LEN(4);
	memcpy(CMSG_DATA(part), &(unsigned int){ ALG_OP_ENCRYPT }, 4);
	part = CMSG_NXTHDR(&message, part);
	part->cmsg_level = SOL_ALG;
	part->cmsg_type = ALG_SET_IV;
	part->cmsg_len = CMSG_LEN(sizeof(*iv) + 16);
	iv = (struct af_alg_iv *)CMSG_DATA(part);
	iv->ivlen = 16;
	for (i = 0; i < 16; i++)
		iv->iv[i] = 0xf0 + i;
	if (sendmsg(operation, &message, 0) != sizeof(plain) ||
	    read(operation, out, sizeof(out)) != sizeof(out)) {
		perror("encrypting");
		return 1;
	}
	for (i = 0; i < 32; i++)
		printf("%s%02x", i == 16 ? " " : "", out[i]);
	printf("\n");
	return 0;
}
