package io.pgveil.reader;

import static io.pgveil.reader.Golden.counting;
import static io.pgveil.reader.Golden.hex;
import static org.assertj.core.api.Assertions.assertThat;

import java.util.Arrays;
import org.junit.jupiter.api.Test;

class AesTest {
  /** IEEE 1619-2007, vector 1. */
  @Test
  void xtsVector1() {
    Secret zeros = Secret.of(new byte[16]);
    byte[] ciphertext = hex("917cf69ebd68b2ec9b9fe9a3eadda692cd43d2f59598ed858c02c2652fbf922e");
    assertThat(Aes.xtsDecrypt(zeros, zeros, 0, ciphertext)).isEqualTo(new byte[32]);
  }

  /** IEEE 1619-2007, vector 2: the same plaintext everywhere, a unit number of five bytes. */
  @Test
  void xtsVector2() {
    Secret data = Secret.of(hex("11".repeat(16)));
    Secret tweak = Secret.of(hex("22".repeat(16)));
    byte[] ciphertext = hex("c454185e6a16936e39334038acef838bfb186fff7480adc4289382ecd6d394f0");
    byte[] plaintext = new byte[32];
    Arrays.fill(plaintext, (byte) 0x44);
    assertThat(Aes.xtsDecrypt(data, tweak, 0x3333333333L, ciphertext)).isEqualTo(plaintext);
  }

  /** IEEE 1619-2007, vector 10: AES-256, unit 255, 512 bytes. */
  @Test
  void xtsVector10() {
    Secret data =
        Secret.of(hex("2718281828459045235360287471352662497757247093699959574966967627"));
    Secret tweak =
        Secret.of(hex("3141592653589793238462643383279502884197169399375105820974944592"));
    byte[] ciphertext =
        hex(
            "1c3b3a102f770386e4836c99e370cf9bea00803f5e482357a4ae12d414a3e63b"
                + "5d31e276f8fe4a8d66b317f9ac683f44680a86ac35adfc3345befecb4bb188fd"
                + "5776926c49a3095eb108fd1098baec70aaa66999a72a82f27d848b21d4a741b0"
                + "c5cd4d5fff9dac89aeba122961d03a757123e9870f8acf1000020887891429ca"
                + "2a3e7a7d7df7b10355165c8b9a6d0a7de8b062c4500dc4cd120c0f7418dae3d0"
                + "b5781c34803fa75421c790dfe1de1834f280d7667b327f6c8cd7557e12ac3a0f"
                + "93ec05c52e0493ef31a12d3d9260f79a289d6a379bc70c50841473d1a8cc81ec"
                + "583e9645e07b8d9670655ba5bbcfecc6dc3966380ad8fecb17b6ba02469a020a"
                + "84e18e8f84252070c13e9f1f289be54fbc481457778f616015e1327a02b140f1"
                + "505eb309326d68378f8374595c849d84f4c333ec4423885143cb47bd71c5edae"
                + "9be69a2ffeceb1bec9de244fbe15992b11b77c040f12bd8f6a975a44a0f90c29"
                + "a9abc3d4d893927284c58754cce294529f8614dcd2aba991925fedc4ae74ffac"
                + "6e333b93eb4aff0479da9a410e4450e0dd7ae4c6e2910900575da401fc07059f"
                + "645e8b7e9bfdef33943054ff84011493c27b3429eaedb4ed5376441a77ed4385"
                + "1ad77f16f541dfd269d50d6a5f14fb0aab1cbb4c1550be97f7ab4066193c4caa"
                + "773dad38014bd2092fa755c824bb5e54c4f36ffda9fcea70b9c6e693e148c151");
    byte[] plaintext = counting(0, 512);
    assertThat(Aes.xtsDecrypt(data, tweak, 255, ciphertext)).isEqualTo(plaintext);
  }

  /** RFC 5869, test case 1: expansion of 42 bytes, which takes two blocks. */
  @Test
  void hkdfExpand() {
    Secret prk = Secret.of(hex("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"));
    assertThat(Aes.hkdfExpand(prk, hex("f0f1f2f3f4f5f6f7f8f9"), 42))
        .isEqualTo(
            hex(
                "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
                    + "34007208d5b887185865"));
  }
}
